"""A recipe at work: its tokenizer, its shards, its first weights, and what tells one run from another."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.decoder import DecoderLM
from engine.errors import DataError
from engine.lookup import FILE as EXAMPLES
from engine.template import TFM
from engine.tokenizer import SentencePieceTokenizer
from weights.data.examples import make_examples
from weights.data.grounding import Grounding
from weights.data.mixture import Mixture
from weights.data.passages import Passages
from weights.data.readers import Report
from weights.data.shards import Shard, build_shard, records, render, shard_key
from weights.data.vocabulary import CONTROL_PIECES, train_tokenizer
from weights.masked import contrastive_rows, initial_encoder, masked_rows
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import ENCODER
from weights.models.reading import CONTROLS
from weights.recipe import ModelRecipe, Recipe, Stage, model_config
from weights.train.loop import Rows
from weights.train.parallel import World


@dataclass(frozen=True)
class Workshop:
    """A recipe at work: where its data is and where its results go."""

    recipe: Recipe
    corpus: Path
    out: Path
    strict: bool = False
    compiled: bool | None = None  # None: where a C compiler is found
    stop_after: int | None = None
    weights: Path | None = None  # a model directory whose weights a stage begins with, instead of those before it
    vectors: Path | None = None  # word vectors that the first stage's embedding begins with
    tensorboard: bool = False
    world: World = field(default_factory=World)

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer that this recipe trains."""
        return self.out / "tokenizer" / "tokenizer.model"

    @property
    def examples_path(self) -> Path:
        """The command examples that this recipe's conversations are grounded in."""
        return self.out / "tokenizer" / EXAMPLES


def make_tokenizer(shop: Workshop) -> SentencePieceTokenizer:
    """The recipe's tokenizer: that of given weights, or trained on an even sample of all sources, once.

    Raises TokenizerError for given weights without a tokenizer.model, DataError when another one is there already.
    """
    if shop.weights is not None:
        _take_tokenizer(shop, shop.weights)
    controls = CONTROLS if shop.recipe.architecture == ENCODER else CONTROL_PIECES
    return tokenizer_at(
        shop.tokenizer_path, shop.recipe.tokenizer.vocab_size, _tokenizer_texts(shop), shop.world, controls
    )


def _take_tokenizer(shop: Workshop, given: Path) -> None:
    """Put the tokenizer of given weights where the recipe's is: each row of an embedding stands for one piece of it."""
    ours, theirs = shop.tokenizer_path, given / shop.tokenizer_path.name
    size, wanted = SentencePieceTokenizer(theirs).vocab_size, shop.recipe.tokenizer.vocab_size
    if size != wanted:
        raise DataError(f"{theirs} has {size} pieces and the recipe wants {wanted}.")
    if not ours.is_file() and shop.world.is_first:
        say(f"taking the tokenizer of {given}")
        ours.parent.mkdir(parents=True, exist_ok=True)
        half_written = ours.with_suffix(".tmp")
        shutil.copyfile(theirs, half_written)
        os.replace(half_written, ours)
    shop.world.wait()
    if digest_of(ours) != digest_of(theirs):
        raise DataError(
            f"The weights in {given} were trained with another tokenizer than {ours}.", "Choose another --out."
        )


def tokenizer_at(
    path: Path, wanted: int, texts: Iterable[str], world: World, controls: Sequence[str] = CONTROL_PIECES
) -> SentencePieceTokenizer:
    """The tokenizer of `wanted` pieces at a path; the first process learns it from texts when it is not there.

    Raises DataError when one of another size is there.
    """
    if not path.is_file() and world.is_first:
        say(f"training a tokenizer of {wanted} pieces")
        train_tokenizer(texts, wanted, path, controls=controls)
    world.wait()
    tokenizer = SentencePieceTokenizer(path)
    if tokenizer.vocab_size != wanted:
        raise DataError(
            f"{path} has {tokenizer.vocab_size} pieces and the recipe wants {wanted}.",
            "Choose another --out, or remove it.",
        )
    return tokenizer


def _tokenizer_texts(shop: Workshop) -> Iterator[str]:
    """Texts of all sources that a stage uses, the same number of bytes of each, as far as it has them."""
    names = sorted({name for stage in shop.recipe.stages for name in stage.shares})
    budget = shop.recipe.tokenizer.sample_mb * 1e6 / max(1, len(names))
    for name in names:
        left = budget
        source = shop.recipe.sources[name]
        for record in records(name, source, shop.corpus, source.files, shop.recipe.seed, Report(shop.strict)):
            for segment, _ in render(record):
                if not segment.control:
                    left -= len(segment.text.encode())
                    yield segment.text
            if left < 0:
                break


def grounding_of(shop: Workshop, stage: Stage) -> Grounding | Passages | None:
    """What becomes of a stage's records: conversations are grounded if any are to be, an encoder reads passages.

    Makes the command examples when they are not there.
    """
    if stage.objective == "mlm":
        return Passages()
    if not stage.grounded:
        return None
    if not shop.examples_path.is_file() and shop.world.is_first:
        say("collecting the command examples")
        shop.examples_path.parent.mkdir(parents=True, exist_ok=True)
        make_examples(shop.corpus, shop.examples_path)
    shop.world.wait()
    return Grounding(shop.examples_path, stage.grounded)


def make_shards(shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer) -> dict[str, Shard]:
    """The shards of a stage's sources; bad lines are counted and told. The first process builds, the others read."""
    report = Report(shop.strict)
    grounding = grounding_of(shop, stage)
    shards = {}
    if not shop.world.is_first:
        shop.world.wait()
    for name in stage.shares:
        source = shop.recipe.sources[name]
        shards[name] = build_shard(
            name, source, shop.corpus, tokenizer, shop.recipe.seed, shop.out / "shards", report, grounding
        )
    if shop.world.is_first:
        shop.world.wait()
    tell_bad_lines(report)
    return shards


def tell_bad_lines(report: Report) -> None:
    """The first of the lines that were left out, and how many there are. A line that was read twice counts once."""
    bad = {(file, line): why for file, line, why in report.bad}
    for (file, line), why in list(bad.items())[:5]:
        say(f"{file}, line {line}: {why} (left out)")
    if bad:
        say(f"{len(bad)} bad lines were left out")


def make_rows(shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer) -> Rows:
    """Where a stage's batches come from."""
    if stage.objective == "contrastive":
        report = Report(shop.strict)
        rows = contrastive_rows(shop.recipe, stage, shop.corpus, tokenizer, report)
        if shop.world.is_first:
            tell_bad_lines(report)
        return rows
    mixture = Mixture(stage, make_shards(shop, stage, tokenizer), shop.recipe.seed)
    return masked_rows(mixture, tokenizer, shop.recipe.seed) if stage.objective == "mlm" else mixture


def initial_model(shop: Workshop, tokenizer: SentencePieceTokenizer) -> DecoderLM | Encoder:
    """The recipe's model with the weights that its seed draws."""
    if shop.recipe.architecture == ENCODER:
        return initial_encoder(shop.recipe, tokenizer)
    end = tokenizer.control_id(TFM.end_of_turn)
    eos = tokenizer.control_id("</s>")
    config = model_config(shop.recipe, tokenizer.vocab_size, tuple(i for i in (end, eos) if i is not None))
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(shop.recipe.seed))
    return model


def fingerprint(shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer) -> str:
    """A hash of all that decides the numbers of a stage: model, stages up to this one, data, tokenizer, seed."""
    recipe = shop.recipe
    upto = recipe.stages[: recipe.stages.index(stage) + 1]
    given = [] if shop.weights is None else [contents(shop.weights)]
    given += [] if shop.vectors is None else [digest_of(shop.vectors)]
    keys = [
        shard_key(n, recipe.sources[n], shop.corpus, tokenizer, recipe.seed, grounding)
        for s, grounding in ((s, grounding_of(shop, s)) for s in upto)
        for n in s.shares
    ]
    facts = json.dumps([_told(recipe.model), [asdict(s) for s in upto], keys, recipe.seed, *given], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def _told(model: ModelRecipe) -> dict[str, Any]:
    """What a recipe says of a model, without what it leaves out: a key that is new here spoils no fingerprint."""
    return {key: value for key, value in asdict(model).items() if value is not None}


def compiles(asked: bool | None) -> bool:
    """Whether to use torch.compile: as was asked, else where there is a C compiler."""
    return asked if asked is not None else shutil.which("gcc") is not None


def digest_of(path: Path) -> str:
    """A hash of a file. Raises DataError when there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise DataError(f"{path} cannot be read: {e.strerror or e}.") from e


def contents(directory: Path) -> str:
    """A hash of a model directory's config and weights."""
    digest = hashlib.sha256()
    for path in (directory / "config.json", *sorted(directory.glob("*.safetensors"))):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def say(text: str) -> None:
    """Progress goes to stderr; stdout is for results."""
    print(text, file=sys.stderr, flush=True)
