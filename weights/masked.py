"""What a recipe of an encoder needs where one of a decoder needs another thing: model, rows, measurements, export."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Any

import torch

from engine.errors import DataError
from engine.tokenizer import SentencePieceTokenizer
from weights.data.masking import MaskedRows, Masker, ordinary_ids
from weights.data.mixture import Mixture
from weights.data.pairs import BOS, EOS, Pair, read_pairs, required
from weights.data.passages import Passages
from weights.data.readers import Record, Report
from weights.data.sentences import SentencePairs
from weights.evaluate.masked import masked_scores
from weights.evaluate.records import beginnings
from weights.evaluate.sentences import embedded, retrieval
from weights.models.config import EncoderConfig
from weights.models.encoder import Encoder
from weights.models.reading import MASK, PAD, Reader
from weights.recipe import Recipe, Stage
from weights.train.loop import Evaluate, Rows


def initial_encoder(recipe: Recipe, tokenizer: SentencePieceTokenizer) -> Encoder:
    """The recipe's encoder with the weights that its seed draws. Raises DataError for a shape that it cannot have."""
    cls, sep, pad, mask = (required(tokenizer, name) for name in (BOS, EOS, PAD, MASK))
    config = encoder_config(recipe, tokenizer.vocab_size)
    model = Encoder(replace(config, cls_id=cls, sep_id=sep, pad_id=pad, mask_id=mask))
    model.init_weights(torch.Generator().manual_seed(recipe.seed))
    return model


def encoder_config(recipe: Recipe, vocab_size: int) -> EncoderConfig:
    """The recipe's encoder for a tokenizer of `vocab_size` pieces. Raises DataError for a shape that it cannot have."""
    known = {f.name for f in fields(EncoderConfig)}
    shape = dict(vars(recipe.model))
    for f in fields(recipe.model):
        if f.name not in known and shape.pop(f.name) != f.default:
            raise DataError(f"model: an encoder has no {f.name}.")
    return EncoderConfig(vocab_size, **shape)


def masked_rows(mixture: Mixture, tokenizer: SentencePieceTokenizer, seed: int) -> Rows:
    """The rows of a masked-LM stage: those of a mixture, masked."""
    return MaskedRows(mixture, _masker(tokenizer, seed))


def _masker(tokenizer: SentencePieceTokenizer, seed: int) -> Masker:
    return Masker(ordinary_ids(tokenizer), required(tokenizer, MASK), seed)


def contrastive_rows(
    recipe: Recipe, stage: Stage, corpus: Path, tokenizer: SentencePieceTokenizer, report: Report
) -> Rows:
    """The rows of a contrastive stage, out of the pairs of all its sources alike. Bad lines go to the report."""
    reader = Reader(tokenizer, initial_encoder(recipe, tokenizer).config)
    pairs = [pair for name in stage.shares for pair in pairs_of(corpus, recipe.sources[name].files, report)]
    ids = reader.pad([reader.cut(text) for pair in pairs for text in pair], stage.row // 2)
    masker = _masker(tokenizer, recipe.seed)
    return SentencePairs(stage, ids.view(len(pairs), 2, -1), reader.config.pad_id, masker)


def pairs_of(corpus: Path, files: Sequence[str], report: Report) -> list[Pair]:
    """Pairs of sentences, one a line, with a tab between; what stands after a second tab is not read.

    Bad lines go to the report.
    """
    return list(read_pairs([corpus / file for file in files], report))


def measure(recipe: Recipe, stage: Stage, corpus: Path, tokenizer: SentencePieceTokenizer, report: Report) -> Evaluate:
    """What is measured while a stage runs: hidden tokens of held-out text, and in contrastive tuning, retrieval.

    Bad lines of what is held out go to the report.
    """
    held_out = held_out_texts(recipe, corpus, recipe.evaluation.held_out_bytes, report)
    sources = [recipe.sources[name] for name in stage.shares] if stage.objective == "contrastive" else []
    pairs = [pair for source in sources for pair in pairs_of(corpus, source.valid, report)]

    def told(model: Encoder) -> Mapping[str, Any]:
        scores = {name: masked_scores(model, tokenizer, texts) for name, texts in held_out.items()}
        row: dict[str, Any] = {
            "masked_accuracy": {name: s.top1 for name, s in scores.items()},
            "bits_per_piece": {name: s.bits for name, s in scores.items()},
        }
        return row | ({"retrieval": retrieval(pairs, *embedded(model, tokenizer, pairs))} if pairs else {})

    return told


def held_out_texts(recipe: Recipe, corpus: Path, size: int, report: Report) -> dict[str, list[str]]:
    """The passages of the first `size` bytes of each source's validation files."""
    return {name: passages(records) for name, records in beginnings(recipe, corpus, size, report).items()}


def passages(records: Sequence[Record]) -> list[str]:
    """The texts of records as an encoder reads them."""
    return [record.text for record in Passages().apply(records, Random(0))]
