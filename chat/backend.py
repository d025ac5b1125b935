"""`Backend`: what a conversation asks of what answers it. `engine.Engine` is one, `chat.remote.engine.RemoteEngine` the
other. Torch-free.

A server tells text and no tokens. So its tokenizer, template and kept caches are None here, and what needs them asks
for that first: one question, `backend.tokenizer is None`, tells the two kinds apart.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from engine.context import Fit
from engine.events import StreamEvent
from engine.info import ModelInfo
from engine.params import SamplingParams
from engine.template import Message, Template

if TYPE_CHECKING:
    from engine.cache import Kept
    from engine.tokenizer import Tokenizer


class Backend(Protocol):
    """Text and conversations in, events out; the methods are documented at `Engine`. context: 0 when not known."""

    info: ModelInfo
    context: int
    defaults: dict[str, Any]

    @property
    def tokenizer(self) -> "Tokenizer | None":
        """What turns text into ids."""

    @property
    def template(self) -> Template | None:
        """What turns a conversation into text."""

    @property
    def kept(self) -> "Kept | None":
        """The caches of earlier prompts."""

    def remarks(self) -> tuple[str, ...]:
        """What a person should know before the first question, a sentence each."""

    def tokenize(self, text: str) -> list[int]:
        """Ids of a plain text."""

    def prompt_ids(self, messages: Sequence[Message], *, prefill: str | Sequence[int] = "") -> list[int]:
        """Ids of a conversation up to where the answer begins, and of `prefill`."""

    def fit(
        self, messages: Sequence[Message], params: SamplingParams, overflow: str, *, prefill: str | Sequence[int] = ""
    ) -> Fit:
        """What of a conversation would be sent."""

    def generate(
        self, prompt: str | Sequence[int], params: SamplingParams, *, overflow: str = ..., cancelled: Callable[[], bool]
    ) -> Iterator[StreamEvent]:
        """Continue a text."""

    def chat(
        self, messages: Sequence[Message], params: SamplingParams, *, overflow: str = ...,
        prefill: str | Sequence[int] = "", cancelled: Callable[[], bool],
    ) -> Iterator[StreamEvent]:  # fmt: skip
        """Answer a conversation."""

    def spoken(self, messages: Sequence[Message], ids: Sequence[int], params: SamplingParams) -> tuple[str, str]:
        """(thoughts, text) of an answer's ids."""
