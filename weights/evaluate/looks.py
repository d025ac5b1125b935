"""What the heads of a model look at most in texts that it was not trained on, and what would be right to look at.

<s> and </s> are left out of it: a head that has nothing to do looks there (Clark et al. 2019).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.api import Engine, load_engine
from engine.attention_maps import watched_attention
from engine.errors import DataError, UsageError
from engine.tokenizer import encode_segments
from weights.data.pairs import Pair, read_pairs
from weights.data.readers import Report, generate_own
from weights.evaluate.heads import Finding, Looked, Places, judge
from weights.evaluate.relations import CONVERSATION, SENTENCE, TRANSLATED, Links, Relation, joined, translated
from weights.evaluate.tokens import END, Tokens
from weights.models.boards import CROSS, DECODER, ENCODER, Board, decoder_board, encoder_board, translator_boards
from weights.models.dictionary import Dictionary
from weights.models.fill import Filler
from weights.models.kinds import COMMANDS, architecture, wrong_kind
from weights.models.translate import Translator

N_SENTENCES, N_CONVERSATIONS, N_TRANSLATIONS, N_LEARNED = 4000, 500, 600, 40_000
LONGEST = 160  # tokens of a text; longer ones are left out
TALKS = ("personas", "in_character", "memory", "own_machine", "shell_basics")
SEED = 1009  # of the conversations; no recipe has it
AT_ONCE = 2048  # tokens in one pass


@dataclass(frozen=True)
class Study:
    """A model with what its heads look at in many texts. part: see Board; board: what its heads do in a text."""

    part: str
    texts: list[Looked]
    relations: Sequence[Relation]
    board: Callable[[Any], Board]

    def findings(self) -> list[Finding]:
        """The best head for each relation that the texts have often enough. A decoder's relations do not look ahead."""
        return judge(self.texts, self.relations, is_causal=self.part == DECODER)


def study(directory: Path, corpus: Path, to: str | None = None, threads: int | None = None) -> Study:
    """Read the texts that suit the model in a directory; `to`: a translator's language.

    Raises CheckpointError for a model without heads, DataError for a corpus without the texts, UsageError for `to`.
    """
    name = architecture(directory)
    if threads:
        torch.set_num_threads(threads)
    command = COMMANDS.get(name or "")
    if to is not None and command != "tfm translate":
        raise UsageError(f"--to means nothing to the {name} in {directory}.")
    if command == "tfm run":
        return decoder_study(load_engine(directory, dtype="float32", threads=threads), corpus)
    if command == "tfm fill":
        return encoder_study(Filler.load(directory), corpus)
    if command == "tfm translate":
        return translator_study(Translator.load(directory), corpus, to)
    raise wrong_kind(directory, name, "cannot be looked into here", "")


def encoder_study(filler: Filler, corpus: Path) -> Study:
    """A masked language model, on held-out sentences."""
    room = min(LONGEST, filler.model.config.max_positions) - 2
    rows = [(s, filler.reader.ids(s)) for s in sentences(corpus) if len(filler.tokenizer.encode(s)) <= room]
    found = _read(rows, filler.tokenizer, list(filler.model.blocks), filler.model.hidden, SENTENCE)
    return Study(ENCODER, found, SENTENCE, lambda text: encoder_board(filler, text))


def decoder_study(engine: Engine, corpus: Path) -> Study:
    """A decoder, on held-out sentences and, if it can chat, on conversations."""
    rows: list[tuple[Any, list[int]]] = [(s, engine.raw_ids(s)) for s in sentences(corpus)]
    if engine.template is not None:
        rows += [(c, conversation_ids(engine, c)) for c in conversations()]
    rows = [row for row in rows if len(row[1]) <= min(LONGEST, engine.context)]
    relations = (*SENTENCE, *CONVERSATION)
    found = _read(rows, engine.tokenizer, list(engine.model.blocks), engine.model.hidden, relations)
    ids = dict(rows)
    return Study(DECODER, found, relations, lambda text: decoder_board(engine, ids[text]))


def translator_study(translator: Translator, corpus: Path, to: str | None) -> Study:
    """The heads between decoder and encoder, while they write the translations of held-out pairs.

    Their relation: before a piece is written, look at the word that it translates, as a learned dictionary has it.
    """
    translator.check_language(to)
    assert to is not None
    find = translated(dictionary(corpus, to).entries)
    boards = {pair: translator_boards(translator, pair[0], to, pair[1])[CROSS] for pair in held_out(corpus, to)}
    found = []
    for pair, board in boards.items():
        source, target = _framed(board.columns), _framed(board.rows)
        best = _most(board.weights, sorted(source.controls))
        links = {TRANSLATED.name: find(target, source)}
        found.append(Looked(pair, best, links, _given(board.weights, links), len(source)))
    return Study(CROSS, found, (TRANSLATED,), boards.__getitem__)


def _read(
    rows: Sequence[tuple[Any, list[int]]], tokenizer: Any, blocks: Sequence[Any], hidden: Callable[[Tensor], Tensor],
    relations: Sequence[Relation],
) -> list[Looked]:  # fmt: skip
    """Texts of one length share a pass, so none is padded. They come in the order in which they were given."""
    found: list[Looked | None] = [None] * len(rows)
    for bundle in _bundles([len(ids) for _, ids in rows]):
        with torch.inference_mode(), watched_attention([block.attention for block in blocks]) as seen:
            hidden(torch.tensor([rows[i][1] for i in bundle]))
        weights = torch.stack([passes[0] for passes in seen], 1)  # B L H T T
        for index, of_text in zip(bundle, weights, strict=True):
            text, ids = rows[index]
            tokens = named(tokenizer, ids)
            barred = [p for p in (0, len(ids) - 1) if p in tokens.controls and tokens.pieces[p] != END]
            links = joined(relations, tokens)
            found[index] = Looked(text, _most(of_text, barred), links, _given(of_text, links), len(ids))
    return [looked for looked in found if looked is not None]


def _bundles(lengths: Sequence[int]) -> Iterator[list[int]]:
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(length, []).append(index)
    for length, members in by_length.items():
        step = max(1, AT_ONCE // length)
        yield from (members[start : start + step] for start in range(0, len(members), step))


def _most(weights: Tensor, barred: Sequence[int]) -> Places:
    """The position with the highest weight of each row but for barred ones: ... T S -> ... T."""
    weights = weights.float().clone()
    weights[..., list(barred)] = -1.0
    return weights.argmax(-1).numpy()


def _given(weights: Tensor, links: Mapping[str, Links]) -> dict[str, npt.NDArray[np.float32]]:
    """The attention L H that the right positions of each relation get, added up over its links."""
    given = {}
    for name, of_relation in links.items():
        mask = torch.zeros(weights.shape[-2:])
        for q, keys in of_relation.items():
            mask[q, list(keys)] = 1.0
        given[name] = (weights.float() * mask).sum((-2, -1)).numpy() if of_relation else np.zeros(0, np.float32)
    return given


def named(tokenizer: Any, ids: Sequence[int]) -> Tokens:
    """Ids as Tokens."""
    return Tokens([tokenizer.piece(i) for i in ids], {p for p, i in enumerate(ids) if tokenizer.is_control(i)})


def _framed(names: Sequence[str]) -> Tokens:
    return Tokens(names, {p for p, name in enumerate(names) if name.startswith("<") and not name.startswith("<0x")})


# Texts


def sentences(corpus: Path) -> list[str]:
    """English sentences that no training has seen, each once. Raises DataError where the corpus has none."""
    paths = sorted((corpus / "parallel").glob("en-*.valid.tsv*"))
    if not paths:
        raise DataError(f"The corpus {corpus} lacks parallel/en-*.valid.tsv.", "Give another with --corpus.")
    by_file = [list(dict.fromkeys(a for a, _ in read_pairs([path], Report()))) for path in paths]
    taken = [s for some in by_file for s in some[: N_SENTENCES // len(by_file)]]
    return list(dict.fromkeys(taken))


def held_out(corpus: Path, to: str) -> list[Pair]:
    """Held-out pairs of English and another language. Raises DataError where the corpus has none."""
    return list(read_pairs(_files(corpus, to, "valid"), Report()))[:N_TRANSLATIONS]


def dictionary(corpus: Path, to: str) -> Dictionary:
    """What stands for each English word, learned from pairs of the training split."""
    pairs = read_pairs(_files(corpus, to, "train"), Report())
    return Dictionary.learn([pair for pair, _ in zip(pairs, range(N_LEARNED), strict=False)])


def _files(corpus: Path, to: str, split: str) -> list[Path]:
    paths = sorted((corpus / "parallel").glob(f"en-{to}.{split}.tsv*"))
    if not paths:
        raise DataError(f"The corpus {corpus} lacks parallel/en-{to}.{split}.tsv.", "Give another with --corpus.")
    return paths


def conversations() -> list[Any]:
    """Conversations of the project's generators, with a seed of their own: tuples of messages."""
    rng = Random(SEED)
    count = N_CONVERSATIONS // len(TALKS)
    talks = [r.messages for name in TALKS for r in generate_own(name, count, rng)]
    rng.shuffle(talks)
    return list(dict.fromkeys(talks))


def conversation_ids(engine: Engine, messages: Any) -> list[int]:
    """The ids of a conversation with its answers."""
    assert engine.template is not None
    return encode_segments(engine.tokenizer, engine.template.render(messages, add_generation_prompt=False))
