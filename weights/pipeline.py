"""From a recipe and a corpus to a model directory: tokenizer, shards, stages, export. Each step resumes."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from engine.api import load_engine
from engine.checkpoint import save_checkpoint
from engine.decoder import DecoderLM
from engine.errors import DataError
from engine.template import TFM
from engine.tokenizer import SentencePieceTokenizer
from weights.data.mixture import Mixture
from weights.data.readers import Record, Report
from weights.data.shards import Shard, build_shard, records, render, shard_key
from weights.data.vocabulary import train_tokenizer
from weights.evaluate.bits import bits_per_byte
from weights.evaluate.card import evaluate, write_card
from weights.recipe import Recipe, Stage, model_config
from weights.train.loop import Run, train
from weights.train.metrics import plot_losses
from weights.train.state import load_state

EVALUATED_BYTES = 16_000  # of each source, while training
CARD_BYTES = 300_000  # of each source, for the model card


@dataclass(frozen=True)
class Workshop:
    """A recipe at work: where its data is and where its results go."""

    recipe: Recipe
    corpus: Path
    out: Path
    strict: bool = False
    compiled: bool | None = None  # None: where a C compiler is found
    stop_after: int | None = None

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer that this recipe trains."""
        return self.out / "tokenizer" / "tokenizer.model"


def make_tokenizer(shop: Workshop) -> SentencePieceTokenizer:
    """The recipe's tokenizer: trained on an even sample of all sources, unless it is there already."""
    if not shop.tokenizer_path.is_file():
        say(f"training a tokenizer of {shop.recipe.tokenizer.vocab_size} pieces")
        train_tokenizer(_tokenizer_texts(shop), shop.recipe.tokenizer.vocab_size, shop.tokenizer_path)
    return SentencePieceTokenizer(shop.tokenizer_path)


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


def make_shards(shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer) -> dict[str, Shard]:
    """The shards of a stage's sources; bad lines are counted and told."""
    report = Report(shop.strict)
    shards = {}
    for name in stage.shares:
        source = shop.recipe.sources[name]
        shards[name] = build_shard(name, source, shop.corpus, tokenizer, shop.recipe.seed, shop.out / "shards", report)
    for file, line, why in report.bad[:5]:
        say(f"{file}, line {line}: {why} (left out)")
    if report.bad:
        say(f"{len(report.bad)} bad lines were left out")
    return shards


def run_stage(shop: Workshop, name: str) -> bool:
    """Run or resume one stage, on the weights that the stage before it left; True when it is done."""
    recipe = shop.recipe
    stage = recipe.stage(name)
    tokenizer = make_tokenizer(shop)
    shards = make_shards(shop, stage, tokenizer)
    model = initial_model(shop, tokenizer)
    before = recipe.stages[: recipe.stages.index(stage)]
    if before:
        _take_weights(shop, model, before[-1])
    mixture = Mixture(stage, shards, recipe.seed)
    home = shop.out / stage.name
    home.mkdir(parents=True, exist_ok=True)
    held_out = evaluation_records(shop, EVALUATED_BYTES)
    run = Run(
        home=home,
        fingerprint=fingerprint(shop, stage, tokenizer),
        compiled=shop.compiled if shop.compiled is not None else shutil.which("gcc") is not None,
        stop_after=shop.stop_after,
        evaluate=(lambda m: bits_per_byte(m, tokenizer, held_out)) if held_out else None,
    )
    if (state := load_state(home, run.fingerprint)) and state["done"]:
        say(f"{stage.name}: all {mixture.n_steps} steps are done; there is nothing more to train")
        return True
    (home / "recipe.json").write_text(recipe.as_json(), encoding="utf-8")
    say(
        f"{stage.name}: {model.config.n_parameters:,} parameters, "
        f"{mixture.n_steps} steps of {stage.batch * stage.row:,} tokens"
    )
    done = train(model, stage, mixture, run)
    plot_losses(home / "metrics.jsonl", home / "losses.png")
    if not done:
        say(f"{name} was stopped and saved; the same command goes on from there")
    return done


def run_recipe(shop: Workshop) -> Path | None:
    """Every stage, then the export; None when a stage was asked to stop early."""
    for stage in shop.recipe.stages:
        if not run_stage(shop, stage.name):
            return None
    return export(shop)


def export(shop: Workshop) -> Path:
    """Write the weights of the last stage as a model directory in Hugging Face layout (bf16)."""
    tokenizer = make_tokenizer(shop)
    model = initial_model(shop, tokenizer)
    _take_weights(shop, model, shop.recipe.stages[-1])
    target = shop.out / "model"
    save_checkpoint(
        target, model, tokenizer_path=shop.tokenizer_path, template=TFM,
        generation=dict(shop.recipe.generation), dtype=torch.bfloat16,
    )  # fmt: skip
    return target


def write_model_card(shop: Workshop) -> str:
    """Evaluate the exported model, write its README.md and evaluation.json; the numbers as JSON."""
    target = shop.out / "model"
    engine = load_engine(target)
    numbers, answers = evaluate(engine, evaluation_records(shop, CARD_BYTES))
    write_card(target, engine, shop.out, numbers, answers)
    told = json.dumps(numbers, indent=1)
    (shop.out / "evaluation.json").write_text(told + "\n", encoding="utf-8")
    return told


def initial_model(shop: Workshop, tokenizer: SentencePieceTokenizer) -> DecoderLM:
    """The recipe's decoder with the weights that its seed draws."""
    end = tokenizer.control_id(TFM.end_of_turn)
    eos = tokenizer.control_id("</s>")
    config = model_config(shop.recipe, tokenizer.vocab_size, tuple(i for i in (end, eos) if i is not None))
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(shop.recipe.seed))
    return model


def _take_weights(shop: Workshop, model: DecoderLM, stage: Stage) -> None:
    """The weights that a finished stage left. Only they are needed: optimizers start anew in each stage."""
    state = load_state(shop.out / stage.name)
    if state is None or not state["done"]:
        raise DataError(f"The stage {stage.name!r} has left no weights under {shop.out}.", "Run it first.")
    shapes = {name: tuple(tensor.shape) for name, tensor in state["model"].items()}
    if shapes != {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}:
        raise DataError(
            f"The weights that {stage.name!r} left under {shop.out} have another shape than the recipe's model."
        )
    model.load_state_dict(state["model"])


def fingerprint(shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer) -> str:
    """A hash of all that decides the numbers of a stage: model, stages up to this one, data, tokenizer, seed."""
    recipe = shop.recipe
    upto = recipe.stages[: recipe.stages.index(stage) + 1]
    keys = [shard_key(n, recipe.sources[n], shop.corpus, tokenizer, recipe.seed) for s in upto for n in s.shares]
    facts = json.dumps([asdict(recipe.model), [asdict(s) for s in upto], keys, recipe.seed], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def evaluation_records(shop: Workshop, size: int) -> dict[str, list[Record]]:
    """The first `size` characters of records of each source that has held-out files."""
    chosen: dict[str, list[Record]] = {}
    for name, source in shop.recipe.sources.items():
        if source.valid:
            stream = records(name, source, shop.corpus, source.valid, shop.recipe.seed, Report())
            chosen[name] = list(_until(stream, size))
    return chosen


def _until(stream: Iterator[Record], size: int) -> Iterator[Record]:
    for record in stream:
        yield record
        size -= len(record.text) + sum(len(m.content) for m in record.messages)
        if size <= 0:
            return


def say(text: str) -> None:
    """Progress goes to stderr; stdout is for results."""
    print(text, file=sys.stderr, flush=True)
