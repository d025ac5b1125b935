"""`tfm train compare-recipes`: one stage of a recipe as it is and with changes, in bits per byte of every source.

Bits per byte depend on no tokenizer, so that vocabularies too can be compared. What is measured on is held out of the
files that are trained on: a choice that is made here has seen nothing of the validation files.
"""

import hashlib
import json
import random
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.decoder import DecoderLM
from engine.errors import DataError
from engine.tokenizer import SentencePieceTokenizer
from weights.compare.trials import Outcome, Steps, by_variant, cell, kept, outcome_of, save_outcomes, table
from weights.data.mixture import Mixture
from weights.data.readers import Record, Report
from weights.data.shards import Shard, make_shard, records
from weights.evaluate.bits import bits_per_byte
from weights.evaluate.records import beginning, digest, text_of
from weights.recipe import Recipe, Stage, read_recipe
from weights.stages import begin
from weights.train.loop import Run, train
from weights.workshop import Workshop, compiles, contents, grounding_of, make_tokenizer, say, tell_bad_lines

UNCHANGED = "as it is"
HELD_OUT_EVERY = 20  # of this many records of a source one is measured on, and not trained on,
HELD_OUT_BYTES = 40_000  # until they have so many bytes
SPARE = 6  # bytes that are read of a source for each token that it gives: a token has four or five
COLUMNS = {"parameters": "parameters", "tokens": "tokens", "tokens/s": "tokens_per_s", "bits per byte": "held_out"}


@dataclass(frozen=True)
class Split:
    """The records of one source that are trained on, and those that are measured on."""

    train: list[Record]
    held_out: list[Record]


def compare_recipes(
    recipe: Path, stage: str, common: Sequence[str], changes: Sequence[str], shop: Workshop, *, seeds: int, tokens: int
) -> str:
    """Train a stage for `tokens` tokens, as it is and with each of the changes; write compare-recipes.md and .json.

    common: overrides of all variants. changes: overrides of one each, with spaces between. shop: where, and with which
    weights; its recipe is `recipe`.
    Raises DataError for changes that cannot be compared, and when `out` holds runs of other settings.
    """
    variants = {
        name: _only(read_recipe(recipe, (f"stage.{stage}.tokens={tokens}", *common, *shlex.split(change))), stage)
        for name, change in ((UNCHANGED, ""), *((change, change) for change in changes))
    }
    shop = replace(shop, recipe=variants[UNCHANGED])
    _check(variants)
    splits = _read(variants, shop)
    runs = _Runs(shop, splits, {})
    outcomes = [runs.outcome(name, variant, seed) for seed in range(seeds) for name, variant in variants.items()]
    return _report(shop, stage, outcomes, list(runs.held_out))


def _only(recipe: Recipe, stage: str) -> Recipe:
    """A recipe of one stage alone."""
    return replace(recipe, stages=(recipe.stage(stage),), blend={})


def _check(variants: Mapping[str, Recipe]) -> None:
    """Raise DataError for variants that cannot be compared."""
    first = variants[UNCHANGED]
    if first.stages[0].objective not in ("lm", "chat"):
        raise DataError("Only stages that train a chat model can be compared.")
    for name, recipe in variants.items():
        if recipe.sources != first.sources or recipe.seed != first.seed:
            raise DataError(f"{name!r} changes the sources or the seed: all variants are measured on the same records.")


def _needed(recipe: Recipe) -> dict[str, int]:
    """Bytes of each source that a variant reads."""
    stage = recipe.stages[0]
    total = sum(stage.shares.values())
    return {name: round(SPARE * stage.tokens * share / total) for name, share in stage.shares.items() if share}


def _read(variants: Mapping[str, Recipe], shop: Workshop) -> dict[str, Split]:
    """Of each source as many records as the variant that takes most of it needs; the first pass over its files."""
    needed: dict[str, int] = {}
    for recipe in variants.values():
        needed |= {name: max(size, needed.get(name, 0)) for name, size in _needed(recipe).items()}
    report = Report(shop.strict)
    splits = {name: _split(name, shop, size, report) for name, size in needed.items()}
    tell_bad_lines(report)
    if not any(split.held_out for split in splits.values()):
        raise DataError(f"No source has {HELD_OUT_EVERY} records, so that nothing can be held out.")
    return splits


def _split(name: str, shop: Workshop, wanted: int, report: Report) -> Split:
    """Records of a source until both parts have their bytes, or until it has no more: a small one is all trained on."""
    source = replace(shop.recipe.sources[name], passes=1)
    split = Split([], [])
    left = {True: HELD_OUT_BYTES, False: wanted}  # by whether it is held out
    for number, record in enumerate(records(name, source, shop.corpus, source.files, shop.recipe.seed, report)):
        aside = number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        if left[aside] > 0:
            (split.held_out if aside else split.train).append(record)
            left[aside] -= len(text_of(record).encode())
        if max(left.values()) <= 0:
            break
    return split


@dataclass(frozen=True)
class _Runs:
    """What all runs read. shards: by tokenizer and records, made when their first run needs them."""

    shop: Workshop
    splits: Mapping[str, Split]
    shards: dict[tuple[Path, str], dict[str, Shard]]

    @property
    def held_out(self) -> dict[str, list[Record]]:
        """What is measured on, of the sources that have enough."""
        return {name: split.held_out for name, split in self.splits.items() if split.held_out}

    def outcome(self, name: str, recipe: Recipe, seed: int) -> Outcome:
        """What becomes of a variant with a seed: bits per byte of each source, and their mean."""
        home = self.shop.out / f"vocabulary-{recipe.tokenizer.vocab_size}"
        shop = replace(self.shop, recipe=replace(recipe, seed=seed), out=home)
        stage = recipe.stages[0]
        read = {source: beginning(self.splits[source].train, size) for source, size in _needed(recipe).items()}

        def work(run: Run) -> Outcome:
            tokenizer = make_tokenizer(replace(shop, recipe=recipe))
            model = begin(shop, stage, tokenizer)
            assert isinstance(model, DecoderLM)  # by _check
            say(f"{name}, seed {seed}: {model.config.n_parameters:,} parameters")
            rows = Steps(Mixture(stage, self._shards(shop, stage, tokenizer, read), seed), stage)
            if not train(model, stage, rows, replace(run, compiled=compiles(shop.compiled))):
                raise KeyboardInterrupt
            bits = bits_per_byte(model, tokenizer, self.held_out)
            told = {"parameters": model.config.n_parameters, "tokens": rows.n_steps * stage.batch * stage.row, **bits}
            return outcome_of(name, seed, run.home, statistics.fmean(bits.values()), told)

        return kept(self.shop.out, name, seed, self._key(recipe, seed, read), work)

    def _shards(
        self, shop: Workshop, stage: Stage, tokenizer: SentencePieceTokenizer, read: Mapping[str, list[Record]]
    ) -> dict[str, Shard]:
        """What is trained on, as ids of a tokenizer; conversations are grounded where the stage grounds them."""
        key = (shop.out, json.dumps([stage.grounded, {name: len(found) for name, found in read.items()}]))
        if key not in self.shards:
            grounding, rng = grounding_of(shop, stage), random.Random(self.shop.recipe.seed)
            self.shards[key] = {
                name: make_shard(grounding.apply(found, rng) if grounding else found, tokenizer)
                for name, found in read.items()
            }
        return self.shards[key]

    def _key(self, recipe: Recipe, seed: int, read: Mapping[str, list[Record]]) -> str:
        """A hash of all that decides the numbers; of the other variants nothing does."""
        facts = [recipe.as_json(), str(seed), *map(digest, read.values()), *map(digest, self.held_out.values())]
        facts += [contents(self.shop.weights)] if self.shop.weights else []
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _report(shop: Workshop, stage: str, outcomes: list[Outcome], sources: Sequence[str]) -> str:
    """The tables: what each variant costs and comes to, and each source's bits, variants by number."""
    groups = by_variant(outcomes)
    lines = ["| bits per byte | " + " | ".join(map(str, range(len(groups)))) + " |", "|---|" + "---:|" * len(groups)]
    for source in sources:
        bits = [cell([o.extra[source] for o in group]) for group in groups.values()]
        lines.append(f"| {source} | " + " | ".join(bits) + " |")
    numbered = [f"- {number}: {name}" for number, name in enumerate(groups)]
    text = (
        f"## The stage {stage} of {shop.recipe.name}, as it is and changed\n\n{table(outcomes, COLUMNS)}\n"
        "Bits per byte is the mean over the sources, of records held out of the training files. Each source:\n\n"
    ) + "\n".join([*lines, "", *numbered, ""])
    (shop.out / "compare-recipes.md").write_text(text, encoding="utf-8")
    save_outcomes(shop.out / "compare-recipes.json", outcomes)
    return text
