"""Running one stage of a recipe: on the weights before it, alone in its directory, measured while it runs."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from filelock import FileLock, Timeout

from engine.api import Engine
from engine.checkpoint import load_config, load_model
from engine.decoder import DecoderLM
from engine.errors import DataError, UsageError
from engine.events import TextDelta
from engine.info import ModelInfo
from engine.params import SamplingParams
from engine.template import TFM, Message
from engine.tokenizer import SentencePieceTokenizer
from weights.data.readers import Record, Report
from weights.estimate import stage_flops_per_token
from weights.evaluate.bits import bits_per_byte
from weights.evaluate.records import beginnings
from weights.masked import measure as measure_encoder
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import ENCODER, load_encoder
from weights.recipe import EvaluationRecipe, Stage
from weights.starting_vectors import start_from_vectors
from weights.train.loop import Evaluate, Rows, Run, train
from weights.train.parallel import World
from weights.train.plot import plot_losses
from weights.train.state import load_state, trained_weights
from weights.workshop import (
    Workshop,
    compiles,
    fingerprint,
    initial_model,
    make_rows,
    make_tokenizer,
    say,
    tell_bad_lines,
)


def run_stage(shop: Workshop, name: str) -> bool:
    """Run or resume one stage, on the weights that the stage before it left; True when it is done.

    Raises DataError when another run is at work in the same directory.
    """
    stage = shop.recipe.stage(name)
    with alone(shop):
        tokenizer = make_tokenizer(shop)
        model = begin(shop, stage, tokenizer)
        return _run(shop, stage, tokenizer, model, make_rows(shop, stage, tokenizer))


class Place(Protocol):
    """Where a run writes, and with which processes."""

    @property
    def out(self) -> Path: ...
    @property
    def world(self) -> World: ...


@contextmanager
def alone(shop: Place) -> Iterator[None]:
    """Only one run may write into a directory. Raises DataError for another, and for what cannot be written there."""
    lock = FileLock(shop.out / ".lock", timeout=0)
    try:
        if shop.world.is_first:
            lock.acquire()
        yield
    except Timeout as e:
        raise DataError(f"Another run is at work in {shop.out}.", "Wait for it, or choose another --out.") from e
    except OSError as e:
        raise DataError(f"{e.filename or shop.out} cannot be used: {e.strerror or e}.") from e
    finally:
        lock.release()


def begin(shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer) -> DecoderLM | Encoder:
    """The model that a stage begins with: drawn from the seed, or with the weights of the stage before, or as given."""
    model = initial_model(shop, tokenizer)
    before = shop.recipe.stages[: shop.recipe.stages.index(stage)]
    if shop.vectors is not None:
        if before or shop.weights is not None:
            raise UsageError("--vectors are for a new model, and this stage goes on with weights that are there.")
        told = start_from_vectors(model.embedding, tokenizer, shop.vectors, shop.recipe.seed)
        if shop.world.is_first:
            say(told)
    if shop.weights is not None:
        _fill(model, _given(shop.weights, model).state_dict(), shop.weights)
    elif before:
        take_weights(shop, model, before[-1])
    return model


def _given(directory: Path, like: DecoderLM | Encoder) -> DecoderLM | Encoder:
    """The model of a directory, of the same architecture as another."""
    if isinstance(like, Encoder):
        return load_encoder(directory)[0]
    return load_model(directory, load_config(directory), torch.float32, torch.device("cpu"))


def _run(
    shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer, model: DecoderLM | Encoder, rows: Rows
) -> bool:
    home = shop.out / stage.name
    home.mkdir(parents=True, exist_ok=True)
    run = Run(
        home=home,
        fingerprint=fingerprint(shop, stage, tokenizer),
        compiled=compiles(shop.compiled),
        stop_after=shop.stop_after,
        evaluate=_measure(shop, stage, tokenizer),
        world=shop.world,
        tensorboard=shop.tensorboard,
        flops_per_token=stage_flops_per_token(
            model.config.layers() if isinstance(model, Encoder) else model.config, stage
        ),
    )
    if (state := load_state(home, run.fingerprint)) and state["done"]:
        if shop.world.is_first:
            say(f"{stage.name}: all {rows.n_steps} steps are done; there is nothing more to train")
        return True
    if shop.world.is_first:
        (home / "recipe.json").write_text(shop.recipe.as_json(), encoding="utf-8")
        say(
            f"{stage.name}: {sum(p.numel() for p in model.parameters()):,} parameters, "
            f"{rows.n_steps} steps of {stage.batch * stage.row:,} tokens"
        )
    done = train(model, stage, rows, run)
    if shop.world.is_first:
        plot_losses(home, home / "losses.png")
        if not done:
            say(f"{stage.name} was stopped and saved; the same command goes on from there")
    return done


def _measure(shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer) -> Evaluate:
    """What is measured while a stage runs: bits per byte of the held-out files, and what the model says."""
    report = Report(shop.strict)
    if shop.recipe.architecture == ENCODER:
        told = measure_encoder(shop.recipe, stage, shop.corpus, tokenizer, report)
    else:
        held_out = beginnings(shop.recipe, shop.corpus, shop.recipe.evaluation.held_out_bytes, report)
        told = _measure_decoder(shop, stage, tokenizer, held_out)
    if shop.world.is_first:
        tell_bad_lines(report)
    return told


def _measure_decoder(
    shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer, held_out: Mapping[str, list[Record]]
) -> Evaluate:
    """Bits per byte of what is held out, and a sample."""

    def measure(model: DecoderLM) -> Mapping[str, Any]:
        told: dict[str, Any] = {"bits_per_byte": bits_per_byte(model, tokenizer, held_out)} if held_out else {}
        if not shop.world.is_sharded:
            told["sample"] = _sample(model, tokenizer, stage, shop.recipe.evaluation)
        return told

    return measure


def _sample(model: DecoderLM, tokenizer: SentencePieceTokenizer, stage: Stage, told: EvaluationRecipe) -> str:
    """A greedy answer or continuation, from a copy: generating leaves traces that training must not meet."""
    still = copy.deepcopy(model).eval().requires_grad_(False)
    info = ModelInfo("in training", "", model.config.n_parameters, "float32", "cpu", torch.get_num_threads(), "tfm", "")
    engine = Engine(still, tokenizer, TFM, info, model.config.max_positions)
    prompt = told.prompts[stage.objective]
    sampling = SamplingParams(greedy=True, max_new_tokens=told.max_new_tokens)
    events = (
        engine.chat([Message("user", prompt)], sampling)
        if stage.objective == "chat"
        else engine.generate(prompt, sampling)
    )
    return f"{prompt} | " + "".join(e.text for e in events if isinstance(e, TextDelta))


def take_weights(shop: Workshop, model: DecoderLM | Encoder, stage: Stage) -> None:
    """The weights that a finished stage left. Only they are needed: optimizers start anew in each stage."""
    _fill(model, _weights_of(shop, stage), shop.out / stage.name)


def blend_weights(shop: Workshop, model: DecoderLM | Encoder) -> None:
    """What is exported: the last stage's weights, or an average of several stages' (Wortsman 2022).

    A little of the weights before tuning gives back some of what tuning made them forget.
    """
    last = shop.recipe.stages[-1]
    parts = [(_weights_of(shop, shop.recipe.stage(name)), part) for name, part in shop.recipe.blend.items()]
    parts = parts or [(_weights_of(shop, last), 1.0)]
    mixed = {name: sum(part * weights[name] for weights, part in parts) for name in parts[0][0]}
    _fill(model, cast(dict[str, torch.Tensor], mixed), shop.out / last.name)


def _weights_of(shop: Workshop, stage: Stage) -> dict[str, torch.Tensor]:
    state = load_state(shop.out / stage.name)
    if state is None or not state["done"]:
        raise DataError(f"The stage {stage.name!r} has left no weights under {shop.out}.", "Run it first.")
    return trained_weights(state)


def _fill(model: DecoderLM | Encoder, weights: Mapping[str, torch.Tensor], where: Path) -> None:
    """Put weights into a model. Raises DataError when they are another model's."""
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if shapes != {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}:
        raise DataError(f"The weights in {where} have another shape than the recipe's model.")
    model.load_state_dict(weights)
