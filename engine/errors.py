"""The one tree of errors. Raised where the fact is known; caught once, at the edge of the command line.

TfmError
├── UsageError            2   a flag or argument has no meaning here
│   └── OutputError           there is no room for what was to be written
├── ModelError            3   the model, or a file of it, cannot be used
│   ├── CheckpointError       config.json, generation_config.json, safetensors
│   ├── TokenizerError        tokenizer.model
│   └── TemplateError         a conversation that the template cannot render
├── ContextOverflow       4   the prompt does not fit the context
├── VerificationFailed    5   a verification or a replay differs
└── DataError             6   training data or a recipe cannot be used
"""

from typing import ClassVar


class TfmError(Exception):
    """One sentence that says what is wrong and where (`message`), and what to do about it (`hint`)."""

    exit_code: ClassVar[int]

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(TfmError):
    """A flag, argument or setting whose value has no meaning."""

    exit_code = 2


class OutputError(UsageError):
    """There is no room for the output where it was sent, as on a full disk."""


class ModelError(TfmError):
    """The model, or a file of it, cannot be used."""

    exit_code = 3


class CheckpointError(ModelError):
    """A config or weight file is missing, damaged, impossible, or asks for what the engine does not do."""


class TokenizerError(ModelError):
    """The tokenizer's file is missing or damaged, or does not belong to the weights."""


class TemplateError(ModelError):
    """A conversation cannot be rendered: no template, or a role without a place in it."""


class ContextOverflow(TfmError):
    """The prompt has more tokens than the context has positions."""

    exit_code = 4


class VerificationFailed(TfmError):
    """Two things that must agree do not."""

    exit_code = 5


class DataError(TfmError):
    """Training data or a recipe cannot be used."""

    exit_code = 6
