"""`tfm verify`: every check of a model, one after the other, as a table and an exit code."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from chat import models
from chat.model_facts import source_of
from chat.render import safe_text
from chat.screen import Screen
from engine.errors import ModelError, VerificationFailed

if TYPE_CHECKING:
    from engine.source import Source
    from engine.tokenizer import Tokenizer
    from engine.verification import Row

TITLES = ("check", "verdict", "number", "limit", "")


def verify(name: str, *, reference: bool, as_json: bool) -> int:
    """Check a model and write a row for each check to stdout. reference: compare with transformers, too.

    Raises VerificationFailed that names the checks that differ, and ModelError for what is no model of the engine.
    """
    path = models.resolve(name)
    screen = Screen(plain=False)
    rows = []
    try:
        for row in checks(path, reference, screen.wait):
            rows.append(row)
            screen.wait(f"{row.name}: {row.verdict}")
    finally:
        screen.stop_waiting()
    wrong = [row.name for row in rows if row.verdict == "differs"]
    if as_json:
        told = {"model": name, "path": str(path), "passed": not wrong, "checks": [_told(row) for row in rows]}
        screen.write(json.dumps(told, indent=2) + "\n")
    else:
        screen.write(_table(rows))
    if wrong:
        raise VerificationFailed(f"{path.name}: {len(wrong)} of {len(rows)} checks differ: {', '.join(wrong)}.")
    return 0


def checks(path: Path, reference: bool, wait: Callable[[str], None]) -> "Iterator[Row]":
    """The rows of all checks of the model at a path. wait: told what takes long."""
    from engine.source import open_source
    from engine.verification import hashes, shapes

    source = open_source(path)
    wait("hashes")
    yield hashes(path, expected_hashes(path))
    yield _checked("shapes", lambda: shapes(path, source.config))
    tokenizer: Tokenizer | None = None
    try:
        tokenizer = source.tokenizer()
        yield from _of_text(source, tokenizer)
    except ModelError as e:
        yield _row("tokenizer", "differs", str(e))
    wait("weights in float32")
    try:
        yield from _of_logits(path, source, tokenizer, reference, wait)
    except ModelError as e:
        yield _row("weights", "differs", str(e))


def expected_hashes(path: Path) -> dict[str, str]:
    """The hashes that `tfm models pull` noted beside a model, by file; empty for one that came another way."""
    told = source_of(path if path.is_dir() else path.parent)
    files = told.get("files")
    if isinstance(files, Mapping):
        return {str(name): str(digest) for name, digest in files.items()}
    return {str(told["file"]): f"sha256:{told['sha256']}"} if {"file", "sha256"} <= told.keys() else {}


def _of_text(source: "Source", tokenizer: "Tokenizer") -> "Iterator[Row]":
    from engine.template_choice import choose_template
    from engine.verification_text import injection, round_trip, template_lint

    config = source.config
    yield _checked("tokenizer", lambda: round_trip(tokenizer, config.vocab_size))
    own = source.templates()
    template, why = choose_template(own, None, tokenizer)
    special = {*config.eos_ids, *([] if config.bos_id is None else [config.bos_id])}
    yield _checked("injection", lambda: injection(tokenizer, template, special))
    if template is not None:
        yield _checked("template", lambda: template_lint(template, tokenizer, config.eos_ids))
    else:
        yield _row("template", "differs" if "default" in own else "skipped", why)


def _of_logits(
    path: Path, source: "Source", tokenizer: "Tokenizer | None", reference: bool, wait: Callable[[str], None]
) -> "Iterator[Row]":
    """One model is held at a time: in float32, then in bfloat16, then as it is stored."""
    import torch

    from engine import verification_logits as numbers
    from engine.layers.quantised import tile_rows

    cpu = torch.device("cpu")
    ids = numbers.sample_ids(tokenizer, source.config)
    model = source.model(torch.float32, cpu)
    for check in (numbers.plain_pass, numbers.cached, numbers.chunked, numbers.batched):
        yield check(model, ids)
    exact = numbers.whole(model, ids)
    yield numbers.rounded("--kv int8", exact, numbers.as_answered(model, ids, "int8"))
    del model
    wait("weights in bfloat16")
    yield numbers.rounded("bfloat16", exact, numbers.as_answered(source.model(torch.bfloat16, cpu), ids))
    if source.stays_quantised():
        wait("weights as they are stored")
        kept = source.model(torch.bfloat16, cpu, keep=True)
        yield numbers.rounded("quantised", exact, numbers.as_answered(kept, ids))
    elif source.quantisation:
        yield _row("quantised", "skipped", f"nothing stays quantised here: {source.quantisation}")
    elif tile_rows() is not None:
        for quant, limit in (("q8_0", numbers.ROUNDED_KL), ("q4_0", numbers.FOUR_BITS_KL)):
            wait(f"weights in {quant}")
            kept = source.model(torch.bfloat16, cpu, quant=quant)  # type: ignore[arg-type]
            yield numbers.rounded(f"--quant {quant}", exact, numbers.as_answered(kept, ids), limit)
    if reference and (path / "config.json").is_file():
        wait("transformers")
        yield numbers.reference(path, exact, ids)
    elif reference:
        yield _row("transformers", "skipped", "a GGUF file is compared with no reference here")


def _checked(name: str, check: "Callable[[], Row]") -> "Row":
    """A check's row; where it meets what cannot be used, that is what it found."""
    try:
        return check()
    except ModelError as e:
        return _row(name, "differs", str(e))


def _row(name: str, verdict: str, said: str) -> "Row":
    from engine.verification import Row

    return Row(name, verdict, said)  # type: ignore[arg-type]


def _told(row: "Row") -> dict[str, object]:
    """A row as JSON, which has no NaN."""
    number = row.number if row.number is not None and math.isfinite(row.number) else None
    return asdict(row) | {"number": number}


def _table(rows: "list[Row]") -> str:
    cells = [TITLES, *((r.name, r.verdict, _number(r.number), _number(r.limit), r.said) for r in rows)]
    safe = [[safe_text(cell).replace("\n", " ") for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in safe), strict=True)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in safe]
    return "\n".join(lines) + "\n"


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.3g}"
