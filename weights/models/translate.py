"""Text in, translation out: tokens, search, and long texts in parts."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.errors import UsageError
from engine.params import SamplingParams
from engine.sampler import TokenRules
from engine.tokenizer import SentencePieceTokenizer
from weights.data.pairs import BOS, EOS, PAD, language_control, required
from weights.models.checkpoint import TranslatorModel, load_translator
from weights.models.decoding import Hypothesis, Search, beam_search, draw_tokens

PART_TOKENS = 48  # a longer text is translated in parts; the training pairs are rarely longer
BATCH_TOKENS = 4096  # padded source tokens in one batch, times the beams
SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’»)]*\s+|\n+")
CLAUSE_END = re.compile(r"(?<=[,;:])\s+")
WORD_END = re.compile(r"\s+")


@dataclass(frozen=True)
class Options:
    """How to translate. sampling: draw instead of searching by beams. alternatives: beyond the best, from the beam."""

    beam: int = 4
    length_penalty: float = 1.0
    alternatives: int = 0
    sampling: SamplingParams | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise UsageError(f"--beam must be at least 1, not {self.beam}.")
        if not 0 <= self.length_penalty <= 10:
            raise UsageError(f"--length-penalty must be between 0 and 10, not {self.length_penalty}.")
        if self.alternatives < 0 or (self.alternatives and self.sampling is not None):
            raise UsageError("--alternatives comes from a beam, and cannot be negative.")


@dataclass(frozen=True)
class Translation:
    """A translation. logprob: of all its tokens; alternatives: other texts and their logprobs, the better first."""

    text: str
    logprob: float
    n_tokens: int
    n_parts: int
    alternatives: tuple[tuple[str, float], ...] = ()


class Translator:
    """A model, its tokenizer, and the languages that it translates to from English."""

    def __init__(self, model: TranslatorModel, tokenizer: SentencePieceTokenizer, languages: Sequence[str]) -> None:
        self.model, self.tokenizer, self.languages = model, tokenizer, tuple(languages)
        self._bos, self._eos, self._pad = (required(tokenizer, name) for name in (BOS, EOS, PAD))
        self._controls = {language: required(tokenizer, language_control(language)) for language in languages}
        never = [i for i in range(tokenizer.vocab_size) if tokenizer.is_control(i)]
        unknown = [i for i in range(tokenizer.vocab_size) if tokenizer.piece(i) == "<unk>"]
        self._rules = TokenRules.of(tokenizer.vocab_size, [self._eos], [*never, *unknown])

    @classmethod
    def load(cls, directory: Path) -> "Translator":
        """The translator in a directory. Raises CheckpointError or TokenizerError for one that cannot be used."""
        return cls(*load_translator(directory))

    def translate(self, texts: Sequence[str], to: str, options: Options = Options()) -> list[Translation]:
        """Translations of texts, in their order. An empty text stays as it is.

        Raises UsageError for a language that the model does not have.
        """
        if to not in self._controls:
            raise UsageError(f"This model does not translate to {to!r}.", f"It knows {', '.join(self.languages)}.")
        parts = [list(self._parts(text)) for text in texts]
        encoded = [[self._source(part, to) for part, _ in row] for row in parts]
        flat = [ids for row in encoded for ids in row]
        found = iter(self._decode(flat, options))
        return [
            self._joined([(next(found), after) for _, after in row], text, options)
            for row, text in zip(parts, texts, strict=True)
        ]

    def _source(self, text: str, to: str) -> list[int]:
        room = self.model.config.max_positions - 2
        return [self._controls[to], *self.tokenizer.encode(text)[:room], self._eos]  # one endless word may be cut

    def _parts(self, text: str) -> Iterator[tuple[str, str]]:
        """(part, the space after it): the whole text if it is short, else its sentences, clauses, or words."""
        head, body = re.match(r"(\s*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        if head:
            yield "", head
        yield from _split(body, self._length, (SENTENCE_END, CLAUSE_END, WORD_END))

    def _length(self, text: str) -> int:
        return len(self.tokenizer.encode(text))

    def _decode(self, sources: Sequence[Sequence[int]], options: Options) -> list[list[Hypothesis]]:
        """Hypotheses for each source, the best first; sources of about one length share a batch."""
        found: list[list[Hypothesis]] = [[Hypothesis((), 0.0, 0.0)]] * len(sources)
        order = sorted((i for i, ids in enumerate(sources) if len(ids) > 2), key=lambda i: len(sources[i]))
        beam = 1 if options.sampling else max(options.beam, options.alternatives + 1)
        start = 0
        while start < len(order):
            widest = len(sources[order[start]])
            count = max(1, BATCH_TOKENS // (beam * (widest + 8)))
            chosen = order[start : start + count]
            for index, hypotheses in zip(
                chosen, self._batch([sources[i] for i in chosen], beam, options, chosen), strict=True
            ):
                found[index] = hypotheses
            start += count
        return found

    def _batch(
        self, sources: Sequence[Sequence[int]], beam: int, options: Options, numbers: Sequence[int]
    ) -> list[list[Hypothesis]]:
        width = max(map(len, sources))
        source = torch.full((len(sources), width), self._pad)
        for row, ids in enumerate(sources):
            source[row, : len(ids)] = torch.tensor(ids)
        # A translation is seldom twice as long; each row has its own limit, or it would depend on the others.
        limits = [min(self.model.config.max_positions, 2 * len(ids) + 16) for ids in sources]
        search = Search(self._bos, self._eos, self._rules, max(limits), beam, options.length_penalty)
        if options.sampling is not None:
            seeds = [options.seed + number for number in numbers]
            return [[h] for h in draw_tokens(self.model, source, search, options.sampling, seeds, limits)]
        return beam_search(self.model, source, search, limits)

    def _joined(self, parts: Sequence[tuple[list[Hypothesis], str]], text: str, options: Options) -> Translation:
        """The translations of the parts of a text as one; alternative n joins the n-th best of each part."""
        ways: list[tuple[str, float]] = []
        for rank in range(options.alternatives + 1):
            chosen = [(found[min(rank, len(found) - 1)], after) for found, after in parts]
            joined = "".join(self.tokenizer.decode(h.ids) + after for h, after in chosen)
            if joined not in [t for t, _ in ways]:
                ways.append((joined, sum(h.logprob for h, _ in chosen)))
        (best, logprob), *others = ways or [(text, 0.0)]
        n_tokens = sum(len(found[0].ids) for found, _ in parts)
        return Translation(best, logprob, n_tokens, sum(bool(f[0].ids) for f, _ in parts), tuple(others))


def _split(text: str, length: Callable[[str], int], ends: Sequence[re.Pattern[str]]) -> Iterator[tuple[str, str]]:
    """(part, the space after it) of a text: whole if it is short, else cut at the first kind of end, and so on.

    Cut at words, parts are as long as may be: a single word says too little.
    """
    stripped = text.rstrip()
    if not ends or (length(stripped) <= PART_TOKENS and "\n" not in stripped):
        if text:
            yield stripped, text[len(stripped) :]
        return
    pieces = list(_pieces(text, ends[0]))
    if len(ends) > 1:
        for piece in pieces:
            yield from _split(piece, length, ends[1:])
        return
    packed = ""
    for piece in pieces:
        if packed and length((packed + piece).rstrip()) > PART_TOKENS:
            yield packed.rstrip(), packed[len(packed.rstrip()) :]
            packed = ""
        packed += piece
    yield packed.rstrip(), packed[len(packed.rstrip()) :]


def _pieces(text: str, end: re.Pattern[str]) -> Iterator[str]:
    """The text in pieces that begin where an end was found; joined, they are the text."""
    start = 0
    for match in end.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]
