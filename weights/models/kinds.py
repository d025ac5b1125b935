"""What a model directory holds, by the `architectures` of its config.json, and the command that uses it. Torch-free."""

import json
from pathlib import Path

from engine.errors import CheckpointError
from engine.families import FAMILIES

COMMANDS = {
    **dict.fromkeys(FAMILIES, "tfm run"), "TfmSeq2Seq": "tfm translate", "TfmLSTM": "tfm translate",
    "TfmEncoder": "tfm fill", "TfmClassifier": "tfm classify",
    "BertForMaskedLM": "tfm fill", "RobertaForMaskedLM": "tfm fill", "DistilBertForMaskedLM": "tfm fill",
    "MBartForConditionalGeneration": "tfm translate", "MarianMTModel": "tfm translate",
    "BartForConditionalGeneration": "tfm summarize", "T5ForConditionalGeneration": "tfm summarize",
}  # fmt: skip


def architecture(directory: Path) -> str | None:
    """The first of the architectures that a directory names; None where there is none to read."""
    try:
        named = json.loads((directory / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return named if isinstance(named, str) else None


def wrong_kind(directory: Path, name: str | None, lacks: str, hint: str) -> CheckpointError:
    """The error for a directory of another kind: what it holds, what that lacks, and which command uses it.

    hint: what to do where no command of ours uses it.
    """
    command = COMMANDS.get(name or "")
    use = f"`{command} -m {directory}` uses it." if command else hint
    return CheckpointError(f"{directory} holds a {name or 'model without a name'}, which {lacks}.", use)
