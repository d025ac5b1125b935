"""Text in, translation out: tokens, search, and long texts in parts."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.checkpoint import read_json
from engine.errors import UsageError
from engine.params import SamplingParams
from engine.sampler import TokenRules
from engine.tokenizer import SentencePieceTokenizer
from weights.models.checkpoint import TranslatorModel, load_translator
from weights.models.decoding import Hypothesis, Search, beam_search, draw_tokens
from weights.models.generation import Generation
from weights.models.hf_checkpoint import is_hf, load_hf
from weights.models.hf_tokenizers import TextTokenizer, unsayable
from weights.models.routes import Route, Routes, choose, own_routes, translation_routes

PART_TOKENS = 48  # a longer text is translated in parts; the training pairs are rarely longer
WIDEST_BEAM = 256
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
        if not 1 <= self.beam <= WIDEST_BEAM:
            raise UsageError(f"--beam must be between 1 and {WIDEST_BEAM}, not {self.beam}.")
        if not 0 <= self.length_penalty <= 10:
            raise UsageError(f"--length-penalty must be between 0 and 10, not {self.length_penalty}.")
        if not 0 <= self.alternatives < WIDEST_BEAM:
            raise UsageError(f"--alternatives must be between 0 and {WIDEST_BEAM - 1}, not {self.alternatives}.")
        if self.alternatives and self.sampling is not None:
            raise UsageError("--alternatives come from a beam, and nothing is drawn there.")


@dataclass(frozen=True)
class Translation:
    """A translation. logprob: of all its tokens; alternatives: other texts and their logprobs, the better first."""

    text: str
    logprob: float
    n_tokens: int
    n_parts: int
    alternatives: tuple[tuple[str, float], ...] = ()


class Translator:
    """A model, its tokenizer, and between which languages it translates, and how it is asked for them."""

    def __init__(
        self, model: TranslatorModel, tokenizer: TextTokenizer, routes: Routes, generation: Generation = Generation()
    ) -> None:
        self.model, self.routes, self.generation = model, routes, generation
        self.tokenizer: Any = tokenizer  # a SentencePieceTokenizer in what this project trains, which evaluation needs
        self.languages = tuple(dict.fromkeys(to for _, to in routes))
        config = model.config
        never = [*unsayable(tokenizer, config.vocab_size), *generation.never]
        self._rules = TokenRules.of(config.vocab_size, [config.eos_id], never)

    @classmethod
    def of(cls, model: TranslatorModel, tokenizer: SentencePieceTokenizer, languages: Sequence[str]) -> "Translator":
        """One that this project trains, from English. Raises TokenizerError when a control token is missing."""
        return cls(model, tokenizer, own_routes(tokenizer, languages))

    @classmethod
    def load(cls, directory: Path) -> "Translator":
        """The translator in a directory. Raises CheckpointError or TokenizerError for one that cannot be used."""
        raw = read_json(directory / "config.json")
        if not is_hf(raw):
            return cls.of(*load_translator(directory))
        found = load_hf(directory, raw)
        routes = translation_routes(directory, raw, found.model.config, found.tokenizer)
        return cls(found.model, found.tokenizer, routes, found.generation)

    def translate(
        self, texts: Sequence[str], to: str, options: Options = Options(), source: str | None = None
    ) -> list[Translation]:
        """Translations of texts, in their order. An empty text stays as it is.

        Part p of text t is drawn with a seed of its own, so it does not matter which texts come in one call: with
        options.seed + t, the text is drawn alike alone. source: the language of the texts, where there are several.
        Raises UsageError for a language that the model does not have.
        """
        route = choose(self.routes, to, source)
        parts = [list(self._parts(text)) for text in texts]
        room = self.model.config.max_positions
        sources = [route.source(self.tokenizer, part, room) for row in parts for part, _ in row]
        seeds = [(options.seed + t + (p << 32)) % 2**63 for t, row in enumerate(parts) for p in range(len(row))]
        found = iter(self._decode(sources, route, options, seeds))
        return [
            self._joined([(next(found), after) for _, after in row], text, options)
            for row, text in zip(parts, texts, strict=True)
        ]

    def check_language(self, to: str | None, source: str | None = None) -> None:
        """Raise UsageError, with the languages that there are, for one that the model does not have, or for none."""
        choose(self.routes, to, source)

    def _parts(self, text: str) -> Iterator[tuple[str, str]]:
        """(part, the space after it): the whole text if it is short, else its sentences, clauses, or words."""
        head, body = re.match(r"(\s*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        if head:
            yield "", head
        yield from _split(body, self._length, (SENTENCE_END, CLAUSE_END, WORD_END))

    def _length(self, text: str) -> int:
        return len(self.tokenizer.encode(text))

    def _decode(
        self, sources: Sequence[Sequence[int]], route: Route, options: Options, seeds: Sequence[int]
    ) -> list[list[Hypothesis]]:
        """Hypotheses for each source, the best first; sources of about one length share a batch."""
        found: list[list[Hypothesis]] = [[Hypothesis((), 0.0, 0.0)]] * len(sources)
        order = sorted((i for i, ids in enumerate(sources) if ids), key=lambda i: len(sources[i]))
        beam = 1 if options.sampling else max(options.beam, options.alternatives + 1)
        start = 0
        while start < len(order):
            widest = len(sources[order[start]])
            count = max(1, BATCH_TOKENS // (beam * (widest + 8)))
            chosen = order[start : start + count]
            search = self._search(route, beam, options)
            decoded = self._batch([sources[i] for i in chosen], search, options, [seeds[i] for i in chosen])
            for index, hypotheses in zip(chosen, decoded, strict=True):
                found[index] = hypotheses
            start += count
        return found

    def _batch(
        self, sources: Sequence[Sequence[int]], search: Search, options: Options, seeds: Sequence[int]
    ) -> list[list[Hypothesis]]:
        width = max(map(len, sources))
        source = torch.full((len(sources), width), self.model.config.pad_id)
        for row, ids in enumerate(sources):
            source[row, : len(ids)] = torch.tensor(ids)
        # A translation is seldom twice as long; each row has its own limit, or it would depend on the others.
        limits = [min(search.limit, 2 * len(ids) + 16) for ids in sources]
        if options.sampling is not None:
            return [[h] for h in draw_tokens(self.model, source, search, options.sampling, seeds, limits)]
        return beam_search(self.model, source, search, limits)

    def _search(self, route: Route, beam: int, options: Options) -> Search:
        config = self.model.config
        return Search(
            route.start, config.eos_id, self._rules, config.max_positions - len(route.forced), beam,
            options.length_penalty, prefix=route.forced, no_repeat=self.generation.no_repeat,
        )  # fmt: skip

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
    pieces = list(cut_after(text, ends[0]))
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


def cut_after(text: str, end: re.Pattern[str]) -> Iterator[str]:
    """The text in pieces that begin where an end was found; joined, they are the text."""
    start = 0
    for match in end.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]
