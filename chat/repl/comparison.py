"""What /compare compares, and keeps until one answer of it is taken."""

from dataclasses import dataclass, field

from chat.answer import Answer
from chat.repl.conversation import Turn
from engine.params import SamplingParams


@dataclass
class Variant:
    """One of the settings, as it was written, and its answer."""

    label: str
    params: SamplingParams
    answer: Answer = field(default_factory=Answer)


@dataclass
class Comparison:
    """What is compared: the settings, and the turn that an answer which is taken becomes."""

    variants: list[Variant]
    question: str | None  # None: the last prompt
    turn: Turn | None = None
