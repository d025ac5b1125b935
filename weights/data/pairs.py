"""Sentence pairs: read, cleaned, tokenised, and bundled by length. A pure function of the seed, as rows of text are.

A source is the control token of the language that is wanted, the text, and </s>. The decoder reads <s> and the
translation, and is to say the translation and </s>.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.errors import DataError, TokenizerError
from engine.tokenizer import SentencePieceTokenizer
from weights.data.readers import Report, read_file
from weights.recipe import Stage

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
BUCKETS = (8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96)  # few widths, so that a compiler meets few shapes
LAST_LATIN = 0x24F  # of the Unicode blocks for European Latin letters

Pair = tuple[str, str]  # English, other
Ids = npt.NDArray[np.int64]


def language_control(language: str) -> str:
    """The name of the control token that asks for a language: "fr" -> "<|fr|>"."""
    return f"<|{language}|>"


def controls(languages: Sequence[str]) -> tuple[str, ...]:
    """The control pieces of a translator's tokenizer, beyond <s> and </s>."""
    return (PAD, *map(language_control, languages))


def read_pairs(paths: Sequence[Path], report: Report) -> Iterator[Pair]:
    """Pairs of tab-separated files, cleaned. Bad lines go to the report; what is no translation is left out."""
    import random

    for path in paths:
        for record in read_file(path, "parallel", random.Random(0), report):
            english, _, other = record.text.partition("\n")
            pair = english.strip(), other.strip()
            if all(map(_is_latin, pair)):
                yield pair


def _is_latin(text: str) -> bool:
    """Whether there is text, and most of its letters are Latin: the corpus has some thousand Burmese spellings."""
    foreign = sum(ord(c) > 0x2FFF or 0x300 <= ord(c) < 0x1E00 for c in text)
    latin = sum(c.isalpha() and ord(c) <= LAST_LATIN for c in text)
    return bool(text) and latin >= foreign


@dataclass(frozen=True)
class EncodedPairs:
    """The ids of one language's pairs, end to end: pair i is the slice from starts[i] to starts[i + 1] of each."""

    control: int
    sources: Ids
    source_starts: Ids
    targets: Ids
    target_starts: Ids

    def __len__(self) -> int:
        return len(self.source_starts) - 1

    def pair(self, index: int) -> tuple[Ids, Ids]:
        """Ids of the English and of the other text, without controls."""
        source = slice(self.source_starts[index], self.source_starts[index + 1])
        target = slice(self.target_starts[index], self.target_starts[index + 1])
        return self.sources[source], self.targets[target]

    @property
    def widths(self) -> Ids:
        """Positions that each pair needs, controls counted."""
        source, target = np.diff(self.source_starts) + 2, np.diff(self.target_starts) + 1
        return np.asarray(np.maximum(source, target), np.int64)

    def key(self) -> str:
        """A hash of everything in it."""
        parts = (self.sources, self.source_starts, self.targets, self.target_starts)
        return hashlib.sha256(b"".join(p.tobytes() for p in parts) + str(self.control).encode()).hexdigest()


def encode_pairs(pairs: Sequence[Pair], language: str, tokenizer: SentencePieceTokenizer) -> EncodedPairs:
    """Tokenise pairs; those beyond the widest bucket are left out. Raises DataError when none is left."""
    control = required(tokenizer, language_control(language))
    columns = [tokenizer.encode_batch(column, threads=1) for column in zip(*pairs, strict=True)]
    widest = BUCKETS[-1]
    kept = [(s, t) for s, t in zip(*columns, strict=True) if len(s) + 2 <= widest and len(t) + 1 <= widest]
    if not kept:
        raise DataError(f"There is no pair of at most {widest} tokens for {language!r}.")
    flat = [np.concatenate([np.asarray(p[side], np.int64) for p in kept]) for side in (0, 1)]
    starts = [np.cumsum([0, *(len(p[side]) for p in kept)]) for side in (0, 1)]
    return EncodedPairs(control, flat[0], starts[0], flat[1], starts[1])


def required(tokenizer: SentencePieceTokenizer, name: str) -> int:
    """The id of a control token. Raises TokenizerError when the tokenizer lacks it."""
    token = tokenizer.control_id(name)
    if token is None:
        raise TokenizerError(f"The tokenizer {tokenizer.path} has no control token {name}.")
    return token


@dataclass(frozen=True)
class PairBatch:
    """Pairs for one forward pass: source B S, inputs and targets B T. Padding is PAD, and -1 in the targets."""

    source: Tensor
    inputs: Tensor
    targets: Tensor

    @property
    def n_targets(self) -> int:
        """What the loss is divided by: the tokens that are to be predicted."""
        return int((self.targets >= 0).sum())


def pair_batch(pairs: Sequence[tuple[Ids, Ids, int]], width: int | None, ids: tuple[int, int, int]) -> PairBatch:
    """Pairs (English, other, control) as one batch, padded to `width` or as the longest needs. ids: BOS, EOS, PAD."""
    bos, eos, pad = ids
    sources = [np.concatenate([[control], s, [eos]]) for s, _, control in pairs]
    inputs = [np.concatenate([[bos], t]) for _, t, _ in pairs]
    targets = [np.concatenate([t, [eos]]) for _, t, _ in pairs]
    return PairBatch(_padded(sources, width, pad), _padded(inputs, width, pad), _padded(targets, width, -1))


def _padded(rows: Sequence[Ids], width: int | None, filler: int) -> Tensor:
    table = np.full((len(rows), width or max(map(len, rows))), filler, np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return torch.from_numpy(table)


class PairRows:
    """The rows of a stage. One row is a bundle: as many pairs of one width as fill `stage.row` target positions.

    Each language gives its share of the stage's tokens, in a new order each time around. The pairs of all languages
    stand in one queue; each goes to the open bundle of its width, and a bundle is a row when it is full. So padding
    is small, shapes are few, and every step holds about the same number of tokens.
    """

    def __init__(self, stage: Stage, sets: Mapping[str, EncodedPairs], seed: int, ids: tuple[int, int, int]) -> None:
        self.stage, self._ids = stage, ids
        self._sets = [sets[name] for name in stage.shares]
        rng = np.random.default_rng([seed, sum(stage.name.encode())])
        self._queue = self._drawn(rng)
        self._bundles = self._bundled(self._queue[:, 2])

    def _drawn(self, rng: np.random.Generator) -> Ids:
        """(language, pair, bucket) of the whole stage, in order: each language at its own even pace."""
        total = sum(self.stage.shares.values())
        drawn, paces = [], []
        for language, (share, pairs) in enumerate(zip(self.stage.shares.values(), self._sets, strict=True)):
            bucket = np.searchsorted(BUCKETS, pairs.widths)
            count = round(self.stage.tokens * share / total / np.asarray(BUCKETS)[bucket].mean())
            passes = [rng.permutation(len(pairs)) for _ in range(-(-count // len(pairs)))]
            order = np.concatenate([*passes, np.zeros(0, np.int64)])[:count]
            drawn.append(np.stack([np.full(count, language), order, bucket[order]], axis=1))
            paces.append((np.arange(count) + 0.5) / max(count, 1))
        return np.concatenate(drawn)[np.argsort(np.concatenate(paces), kind="stable")]

    def _bundled(self, bucket: Ids) -> list[tuple[int, Ids]]:
        """(width, places in the queue) of each bundle, in the order in which they are full.

        The last of a width is filled up with its first.
        """
        found: list[tuple[int, int, Ids]] = []
        for index, width in enumerate(BUCKETS):
            places = np.flatnonzero(bucket == index)
            size = max(1, self.stage.row // width)
            for start in range(0, len(places), size):
                bundle = places[start : start + size]
                full_at = int(bundle[-1]) if len(bundle) == size else len(bucket)
                if len(bundle) < size:
                    bundle = np.concatenate([bundle, np.resize(places, size - len(bundle))])
                found.append((full_at, width, bundle))
        found.sort(key=lambda b: (b[0], b[1]))
        return [(width, bundle) for _, width, bundle in found]

    @property
    def n_steps(self) -> int:
        """Optimizer steps in the stage: the bundles, in whole batches."""
        return max(1, len(self._bundles) // self.stage.batch)

    def n_pairs(self, steps: int) -> int:
        """The pairs in the first so many steps, those that come again counted again."""
        return sum(len(bundle) for _, bundle in self._bundles[: steps * self.stage.batch])

    def batch(self, first_row: int, rows: int) -> PairBatch:
        """Bundles first_row .. first_row + rows - 1, padded to the widest of them."""
        chosen = [self._bundles[r % len(self._bundles)] for r in range(first_row, first_row + rows)]
        pairs = [
            (*self._sets[language].pair(pair), self._sets[language].control)
            for _, bundle in chosen
            for language, pair, _ in self._queue[bundle]
        ]
        return pair_batch(pairs, max(width for width, _ in chosen), self._ids)
