"""A recipe: one TOML file that says how a model is made, from corpus to shipped directory. Data, not code.

An unknown key is an error that names the nearest known one. The resolved recipe is kept with the run.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

from engine.config import ExpertsConfig, ModelConfig
from engine.errors import CheckpointError, DataError
from weights.data.own import GENERATORS

T = TypeVar("T")
PROMPTS = {"lm": "The ", "chat": "How do I list the files here?"}  # what a model goes on with while it is trained
OBJECTIVES_OF = {"LlamaForCausalLM": ("lm", "chat"), "TfmEncoder": ("mlm", "contrastive")}  # by architecture


@dataclass(frozen=True)
class TokenizerRecipe:
    """How the tokenizer is learned: from `sample_mb` megabytes of text, drawn evenly over the sources."""

    vocab_size: int = 8192
    sample_mb: float = 24.0


@dataclass(frozen=True)
class ModelRecipe:
    """The shape of the model; the names are those of ModelConfig."""

    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_ff: int
    head_dim: int = 64
    max_positions: int = 1024
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = True
    experts: ExpertsConfig | None = None


@dataclass(frozen=True)
class Source:
    """Where records come from: files of the corpus in one format, or `count` records of an own generator."""

    format: str
    files: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    count: int = 0
    passes: int = 1  # a shell table read twice is asked in two wordings


@dataclass(frozen=True)
class Stage:
    """One run of the training loop.

    Tokens are those of the texts that are drawn. In a chat stage the padding of rows that hold whole conversations
    comes on top, about a tenth; of pairs and labelled texts whole rows are counted, padding included.
    """

    name: str
    objective: Literal["lm", "chat", "translation", "mlm", "contrastive", "classify"]
    tokens: int
    shares: Mapping[str, float]  # source -> part of the tokens, in any unit
    row: int = 512  # positions in one row
    batch: int = 16  # rows in one optimizer step
    micro_batch: int = 16  # rows in one forward pass
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    min_lr: float = 0.0  # where the schedule ends
    warmup: int = 100  # steps
    decay: float = 1.0  # part of the steps in which the rate falls: 1 is a cosine, less is warm-up-stable-decay
    weight_decay: float = 0.1
    clip: float = 1.0
    whole: tuple[str, ...] = ()  # sources of which chat tuning learns the user's words too, so as not to forget them
    grounded: float = 0.0  # part of the conversations that get looked-up command examples before their questions
    dropout: float = 0.0  # of embedding, attention weights and residual branches
    ema: float = 0.0  # decay of a moving average of the weights, which is then what the stage leaves; 0 is none
    recompute: bool = False  # activation checkpointing: blocks are run again in the backward pass, for memory
    spike: float = 3.0  # nats above the mean of late steps at which a run stops
    save_minutes: float = 5.0
    keep_states: int = 2  # the newest; older ones are removed
    eval_every: int = 500  # steps


@dataclass(frozen=True)
class EvaluationRecipe:
    """What is measured every `eval_every` steps of a stage, and at its end."""

    held_out_bytes: int = 16_000  # of each source's `valid` files, whose bits per byte are taken
    prompts: Mapping[str, str] = field(default_factory=lambda: dict(PROMPTS))  # objective -> begins the sample
    max_new_tokens: int = 32  # of the sample, which is greedy


@dataclass(frozen=True)
class Recipe:
    """A whole recipe."""

    name: str
    seed: int
    model: ModelRecipe
    sources: Mapping[str, Source]
    stages: tuple[Stage, ...]
    architecture: Literal["LlamaForCausalLM", "TfmEncoder"] = "LlamaForCausalLM"
    version: str = ""  # of the model that it makes, for its card
    tokenizer: TokenizerRecipe = field(default_factory=TokenizerRecipe)
    generation: Mapping[str, Any] = field(default_factory=dict)  # becomes generation_config.json
    blend: Mapping[str, float] = field(default_factory=dict)  # stage -> its part in the weights that are exported
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)

    def stage(self, name: str) -> Stage:
        """A stage by name. Raises DataError when the recipe has none of that name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise DataError(
            f"The recipe {self.name!r} has no stage {name!r}; it has {', '.join(s.name for s in self.stages)}."
        )

    def as_json(self) -> str:
        """The resolved recipe, for the run's directory."""
        return json.dumps(asdict(self), indent=1)


def read_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe in a TOML file, with overrides. Raises DataError for a file or value that cannot be used."""
    return recipe_from(read_table(path, overrides))


def read_table(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a TOML file says, with `dotted.key=value` overrides (values are TOML; bare words are text).

    Raises DataError for a file or an override that cannot be read.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise DataError(f"There is no recipe {path}.") from e
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise DataError(f"The recipe {path} cannot be read: {e}.") from e
    for override in overrides:
        _override(table, override)
    return table


def recipe_from(table: dict[str, Any]) -> Recipe:
    """A recipe from plain tables. Raises DataError that names the key."""
    table = dict(table)
    stages = table.pop("stage", [])
    if not stages or not fits(stages, list[dict]):  # type: ignore[type-arg]
        raise DataError("The recipe has no stage: each is a table that begins with [[stage]].")
    sources = table.pop("sources", {})
    if not fits(sources, Mapping[str, dict]):  # type: ignore[type-arg]
        raise DataError("The recipe's sources are no tables: each begins with [sources.NAME].")
    sources = {n: build(Source, s, f"sources.{n}") for n, s in sources.items()}
    recipe = build(
        Recipe,
        table
        | {
            "model": build(ModelRecipe, with_experts(table.get("model", {})), "model"),
            "tokenizer": build(TokenizerRecipe, table.get("tokenizer", {}), "tokenizer"),
            "evaluation": _evaluation(table.get("evaluation", {})),
            "sources": sources,
            "stages": tuple(build(Stage, s, f"stage {s.get('name', '?')}") for s in stages),
        },
        "recipe",
    )
    for name, source in recipe.sources.items():
        _check_source(name, source)
    for name, part in recipe.blend.items():
        recipe.stage(name)
        if not 0 < part <= 1 or abs(sum(recipe.blend.values()) - 1) > 1e-6:
            raise DataError(f"blend: the parts must be positive and add up to 1, not {dict(recipe.blend)}.")
    for stage in recipe.stages:
        _check_name(stage.name, recipe.stages)
        check_numbers(stage)
        for name in stage.shares:
            if name not in recipe.sources:
                raise DataError(
                    f"Stage {stage.name!r} takes from {name!r}, which is no source.{_nearest(name, recipe.sources)}"
                )
        for name in stage.whole:
            if name not in stage.shares:
                raise DataError(
                    f"Stage {stage.name!r}: whole names {name!r}, of which it takes nothing."
                    f"{_nearest(name, stage.shares)}"
                )
        if stage.batch % stage.micro_batch:
            raise DataError(
                f"Stage {stage.name!r}: a batch of {stage.batch} is no multiple of {stage.micro_batch} rows."
            )
        if stage.objective == "translation":
            raise DataError(f"Stage {stage.name!r} translates; that is for `tfm train translator`.")
        if stage.objective not in OBJECTIVES_OF[recipe.architecture]:
            raise DataError(f"Stage {stage.name!r}: a {recipe.architecture} cannot learn {stage.objective!r}.")
        if stage.row > recipe.model.max_positions:
            raise DataError(
                f"Stage {stage.name!r}: a row of {stage.row} is longer than max_positions {recipe.model.max_positions}."
            )
    return recipe


def model_config(recipe: Recipe, vocab_size: int, eos_ids: tuple[int, ...]) -> ModelConfig:
    """The ModelConfig of a recipe, for a tokenizer of `vocab_size` pieces."""
    return ModelConfig(vocab_size=vocab_size, eos_ids=eos_ids, bos_id=1, **vars(recipe.model))


def _evaluation(table: Any) -> EvaluationRecipe:
    """The table [evaluation], checked; an objective that it gives no prompt for keeps its own."""
    told = build(EvaluationRecipe, table, "evaluation")
    for objective in told.prompts:
        if objective not in PROMPTS:
            raise DataError(f"evaluation.prompts: {objective!r} has no sample.{_nearest(objective, PROMPTS)}")
    for key in ("held_out_bytes", "max_new_tokens"):
        if getattr(told, key) < 1:
            raise DataError(f"evaluation: {key} must be at least 1, not {getattr(told, key)}.")
    return replace(told, prompts={**PROMPTS, **told.prompts})


def _check_source(name: str, source: Source) -> None:
    if source.format == "own":
        if name not in GENERATORS:
            raise DataError(f"sources.{name}: no own generator has this name.{_nearest(name, GENERATORS)}")
        if source.count < 1:
            raise DataError(f"sources.{name}: count must be at least 1, not {source.count}.")
    elif not source.files or source.passes < 1:
        raise DataError(f"sources.{name}: at least one file is needed, and at least one pass over it.")


def _check_name(name: str, stages: tuple[Stage, ...]) -> None:
    """A stage's name is that of its directory."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name in ("model", "shards", "tokenizer"):
        raise DataError(f"A stage cannot be called {name!r}: it becomes a directory beside model, shards, tokenizer.")
    if [s.name for s in stages].count(name) > 1:
        raise DataError(f"Two stages are called {name!r}.")


def check_numbers(stage: Stage) -> None:
    """Raise DataError for a number of a stage that has no meaning."""
    for key in ("tokens", "row", "batch", "micro_batch", "lr", "clip", "spike", "keep_states", "eval_every"):
        if not 0 < getattr(stage, key) < float("inf"):
            raise DataError(f"Stage {stage.name!r}: {key} must be more than 0, not {getattr(stage, key)}.")
    for key in ("grounded", "dropout", "ema", "decay", "weight_decay"):
        if not 0 <= getattr(stage, key) <= (1 if key in ("grounded", "decay") else 0.9999):
            raise DataError(f"Stage {stage.name!r}: {key} must lie between 0 and 1, not {getattr(stage, key)}.")
    if min(stage.shares.values(), default=0) < 0 or sum(stage.shares.values()) <= 0:
        raise DataError(f"Stage {stage.name!r}: no share may be negative, nor all of them zero.")


def with_experts(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The table [model] with what [model.experts] says as an ExpertsConfig. Raises DataError that names the key."""
    if not isinstance(model, Mapping) or "experts" not in model:
        return model
    try:
        return {**model, "experts": build(ExpertsConfig, model["experts"], "model.experts")}
    except CheckpointError as e:
        raise DataError(f"The recipe's model: {e.message}") from e


def build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A dataclass from a table: known keys only, none missing, values of its kinds, lists as tuples."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(table, Mapping):
        raise DataError(f"{where} must be a table, not {table!r}.")
    for key, value in table.items():
        if key not in known:
            raise DataError(f"{where}: unknown key {key!r}.{_nearest(key, known)}")
        if not fits(value, known[key].type):
            raise DataError(f"{where}: {key} cannot be {value!r}; {_wanted(known[key].type)}.")
    for name, f in known.items():
        if name not in table and f.default is MISSING and f.default_factory is MISSING:
            raise DataError(f"{where}: the key {name!r} is missing.")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def fits(value: Any, kind: Any) -> bool:
    """Whether a value from TOML is of the kind that a field declares; a list serves as a tuple, an int as a float."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in parts
    if origin in (tuple, list):
        return isinstance(value, (list, tuple)) and all(fits(v, parts[0]) for v in value)
    if origin is UnionType:
        return any(fits(value, part) for part in parts)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(fits(v, parts[1]) for v in value.values())
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return kind is Any or isinstance(value, kind)


def _wanted(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"it is one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is UnionType:
        return _wanted(get_args(kind)[0])
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return f"it must be {names.get(kind, 'a list of text' if get_origin(kind) is tuple else 'a table')}"


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key, list(known), 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _override(table: dict[str, Any], override: str) -> None:
    """Set one dotted key; `stage.NAME.key` reaches into the stage of that name."""
    key, equals, text = override.partition("=")
    if not equals:
        raise DataError(f"An override is written key=value, not {override!r}.")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.split(".")
    here: Any = table
    for part in parents:
        if isinstance(here, list):
            here = next((s for s in here if s.get("name") == part), None)
        else:
            here = here.get(part) if part == "stage" else here.setdefault(part, {})
        if not isinstance(here, (dict, list)):
            raise DataError(f"The recipe has no place for {key!r}.")
    if not isinstance(here, dict):
        raise DataError(f"The recipe has no place for {key!r}.")
    here[last] = value
