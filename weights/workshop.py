"""A recipe at work: its tokenizer, its shards, its first weights, and what tells one run from another."""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from engine.decoder import DecoderLM
from engine.errors import DataError
from engine.lookup import FILE as EXAMPLES
from engine.template import TFM
from engine.tokenizer import SentencePieceTokenizer
from weights.data.examples import make_examples
from weights.data.grounding import Grounding
from weights.data.readers import Report
from weights.data.shards import Shard, build_shard, records, render, shard_key
from weights.data.vocabulary import CONTROL_PIECES, train_tokenizer
from weights.recipe import Recipe, Stage, model_config
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
    """The recipe's tokenizer: trained on an even sample of all sources, unless it is there already."""
    return tokenizer_at(shop.tokenizer_path, shop.recipe.tokenizer.vocab_size, _tokenizer_texts(shop), shop.world)


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


def grounding_of(shop: Workshop, stage: Stage) -> Grounding | None:
    """How a stage's conversations are grounded, if any are; makes the command examples when they are not there."""
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
    """The first of the lines that were left out, and how many there are."""
    for file, line, why in report.bad[:5]:
        say(f"{file}, line {line}: {why} (left out)")
    if report.bad:
        say(f"{len(report.bad)} bad lines were left out")


def initial_model(shop: Workshop, tokenizer: SentencePieceTokenizer) -> DecoderLM:
    """The recipe's decoder with the weights that its seed draws."""
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
    keys = [
        shard_key(n, recipe.sources[n], shop.corpus, tokenizer, recipe.seed, grounding)
        for s, grounding in ((s, grounding_of(shop, s)) for s in upto)
        for n in s.shares
    ]
    facts = json.dumps([asdict(recipe.model), [asdict(s) for s in upto], keys, recipe.seed, *given], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


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
