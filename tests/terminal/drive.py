"""A process that runs `tfm` with the scripted engine in place of a model: what the terminal tests start.

python tests/terminal/drive.py '{"answers": ["hi"], "delay": 0.1}' chat --plain
"""

import json
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Put the double where `load_engine` is looked for, then be `tfm`."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "chat")]
    from double import ScriptedEngine

    import engine
    from chat import cli, models

    options = json.loads(sys.argv[1])
    if "crash" in options:
        options["fail"] = RuntimeError(options.pop("crash"))
    if "words" in options:  # a long answer; a command line cannot hold it
        options["answers"] = ["word " * options.pop("words")]
    scripted = ScriptedEngine(**options)
    assert isinstance(engine, ModuleType)
    engine.load_engine = scripted.loader  # type: ignore[attr-defined]
    models.resolve = lambda name: Path("/nowhere") / name  # type: ignore[assignment]
    sys.argv = ["tfm", *sys.argv[2:]]
    cli.main()


main()
