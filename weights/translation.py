"""Training of a translator: tokenizer, pairs, model, the loop, and the model directory. Each step resumes."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.errors import DataError
from engine.tokenizer import SentencePieceTokenizer
from weights.data.pairs import BOS, EOS, PAD, EncodedPairs, Pair, PairRows, controls, encode_pairs, read_pairs, required
from weights.data.readers import Report
from weights.evaluate.translation import held_out_bits, sample
from weights.models.checkpoint import TranslatorModel, build_model, save_translator
from weights.objectives import translation
from weights.stages import alone
from weights.train.loop import Run, train
from weights.train.parallel import World
from weights.train.plot import plot_losses
from weights.train.state import load_state, trained_weights
from weights.translation_recipe import TranslatorRecipe
from weights.workshop import compiles, say, tell_bad_lines, tokenizer_at

MEASURED_PAIRS = 300  # of each language, while training


@dataclass(frozen=True)
class TranslatorShop:
    """A translator's recipe at work: where its data is and where its results go."""

    recipe: TranslatorRecipe
    corpus: Path
    out: Path
    strict: bool = False
    compiled: bool | None = None  # None: a transformer, where a C compiler is found
    stop_after: int | None = None
    tensorboard: bool = False
    world: World = field(default_factory=World)

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer that this recipe trains."""
        return self.out / "tokenizer" / "tokenizer.model"

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that are translated to, in the order of the recipe."""
        return tuple(self.recipe.languages)

    @property
    def home(self) -> Path:
        """Where states and metrics go."""
        return self.out / self.recipe.stage.name

    def pairs(self, language: str, split: str) -> list[Pair]:
        """The pairs of a language, "train" or "valid". Bad lines are counted and told."""
        report = Report(self.strict)
        files = getattr(self.recipe.languages[language], split)
        found = list(read_pairs([self.corpus / f for f in files], report))
        tell_bad_lines(report)
        return found


def make_tokenizer(shop: TranslatorShop) -> SentencePieceTokenizer:
    """The recipe's tokenizer: trained on both sides of all languages alike, unless it is there already."""
    recipe = shop.recipe.tokenizer
    return tokenizer_at(
        shop.tokenizer_path, recipe.vocab_size, _tokenizer_texts(shop), shop.world, controls(shop.languages)
    )


def _tokenizer_texts(shop: TranslatorShop) -> Iterator[str]:
    """Both sides of pairs, the same number of bytes of each language, as far as it has them."""
    share = shop.recipe.tokenizer.sample_mb * 1e6 / len(shop.languages)
    for language in shop.languages:
        left = share
        for pair in shop.pairs(language, "train"):
            yield from pair
            left -= sum(len(text.encode()) for text in pair)
            if left < 0:
                break


def control_ids(tokenizer: SentencePieceTokenizer) -> tuple[int, int, int]:
    """The ids of <s>, </s> and <pad>."""
    bos, eos, pad = (required(tokenizer, name) for name in (BOS, EOS, PAD))
    return bos, eos, pad


def initial_model(shop: TranslatorShop, tokenizer: SentencePieceTokenizer) -> TranslatorModel:
    """The recipe's model with the weights that its seed draws."""
    model = build_model(shop.recipe.config(tokenizer.vocab_size, *control_ids(tokenizer)))
    model.init_weights(torch.Generator().manual_seed(shop.recipe.seed))
    return model


def run_translator(shop: TranslatorShop) -> bool:
    """Train, or go on where a run was cut; True when it is done. Raises DataError when another run is at work."""
    with alone(shop):
        tokenizer = make_tokenizer(shop)
        sets = {n: encode_pairs(shop.pairs(n, "train"), n, tokenizer) for n in shop.recipe.stage.shares}
        rows = PairRows(shop.recipe.stage, sets, shop.recipe.seed, control_ids(tokenizer))
        model = initial_model(shop, tokenizer)
        return _run(shop, tokenizer, model, rows, _fingerprint(shop, tokenizer, sets))


def _run(
    shop: TranslatorShop, tokenizer: SentencePieceTokenizer, model: TranslatorModel, rows: PairRows, fingerprint: str
) -> bool:
    stage = shop.recipe.stage
    shop.home.mkdir(parents=True, exist_ok=True)
    if (state := load_state(shop.home, fingerprint)) and state["done"]:
        say(f"{stage.name}: all {rows.n_steps} steps are done; there is nothing more to train")
        return True
    n_parameters = sum(p.numel() for p in model.parameters())
    can_compile = shop.recipe.architecture == "TfmSeq2Seq"  # nothing is gained around an LSTM's own kernel
    run = Run(
        home=shop.home, fingerprint=fingerprint,
        compiled=can_compile and compiles(shop.compiled),
        stop_after=shop.stop_after, evaluate=_measure(shop, tokenizer), world=shop.world,
        tensorboard=shop.tensorboard, flops_per_token=6.0 * n_parameters,
    )  # fmt: skip
    if shop.world.is_first:
        (shop.home / "recipe.json").write_text(json.dumps(asdict(shop.recipe), indent=1), encoding="utf-8")
        say(f"{stage.name}: {n_parameters:,} parameters, {rows.n_steps} steps of {stage.batch * stage.row:,} positions")
    done = train(model, stage, rows, run, partial(translation, smoothing=shop.recipe.label_smoothing))
    if shop.world.is_first:
        plot_losses(shop.home, shop.home / "losses.png")
        if not done:
            say(f"{stage.name} was stopped and saved; the same command goes on from there")
    return done


def _fingerprint(shop: TranslatorShop, tokenizer: SentencePieceTokenizer, sets: Mapping[str, EncodedPairs]) -> str:
    """A hash of all that decides the numbers."""
    recipe = asdict(shop.recipe)
    recipe.pop("languages")  # their ids say more
    facts = [recipe, {name: pairs.key() for name, pairs in sets.items()}, tokenizer.path.read_bytes().hex()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _measure(shop: TranslatorShop, tokenizer: SentencePieceTokenizer) -> Any:
    """What is measured while training: bits per byte of held-out translations, and what becomes of one sentence."""
    held_out = {n: shop.pairs(n, "valid")[:MEASURED_PAIRS] for n in shop.languages if shop.recipe.languages[n].valid}

    def measure(model: TranslatorModel) -> Mapping[str, Any]:
        bits = {n: held_out_bits(model, tokenizer, n, pairs) for n, pairs in held_out.items()}
        return {"bits_per_byte": bits, "sample": sample(model, tokenizer, shop.languages)}

    return measure


def export(shop: TranslatorShop) -> Path:
    """Write the trained weights as a model directory (bf16)."""
    tokenizer = make_tokenizer(shop)
    state = load_state(shop.home)
    if state is None or not state["done"]:
        raise DataError(f"There are no trained weights under {shop.home}.", "Train first.")
    model = initial_model(shop, tokenizer)
    model.load_state_dict(trained_weights(state))
    save_translator(shop.out / "model", model, shop.tokenizer_path, shop.languages)
    return shop.out / "model"
