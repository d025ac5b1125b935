"""A model with experts as `tfm inspect experts` reads it: a decoder, an encoder, or the encoder of a translator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat.loading import load_exactly
from chat.screen import Screen
from chat.settings import Settings
from engine.errors import ModelError, UsageError

WINDOW = 512  # tokens that are read together, where the model has room for so many


@dataclass(frozen=True)
class Mixture:
    """model: its `blocks` are looked at, while `read` (its `hidden` where there is none) passes ids through them.

    room: positions at most. before, after: control ids that the model reads around a text; nothing is told of them.
    """

    model: Any
    tokenizer: Any
    n_experts: int
    room: int
    before: Sequence[int] = ()
    after: Sequence[int] = ()
    read: Callable[[Any], object] | None = None

    @property
    def size(self) -> int:
        """Tokens of a text that are read together."""
        return max(1, min(WINDOW, self.room) - len(self.before) - len(self.after))

    def chosen(self, ids: Sequence[int]) -> dict[int, list[list[int]]]:
        """Layer -> for each of the ids, at most `size`, the experts that take it, the best first."""
        from engine.routing import chosen_experts

        found = chosen_experts(self.model, [*self.before, *ids, *self.after], self.read)
        first = len(self.before)
        return {layer: rows[first : first + len(ids)] for layer, rows in found.items()}


def open_mixture(directory: Path, to: str | None, settings: Settings, screen: Screen) -> Mixture:
    """The model of a directory. to: the language that a translator is asked for.

    Raises ModelError for a model without experts, before its weights are read, and UsageError for a language where
    none is wanted, none where one is, or one that the translator does not have.
    """
    from weights.models.kinds import COMMANDS, architecture

    name = architecture(directory)
    command = COMMANDS.get(name or "", "tfm run")
    if to is not None and command != "tfm translate":
        raise UsageError(f"--to means nothing to the {name} in {directory}.")
    if name == "TfmLSTM":
        raise ModelError(f"{directory} holds an LSTM, which has no feed-forward part and so no experts.")
    if command == "tfm run":
        return _of_decoder(directory, settings, screen)
    from engine.checkpoint import read_json

    if read_json(directory / "config.json").get("experts") is None:  # so none of the layouts that are not ours
        raise _without_experts(directory)
    import torch

    if settings["threads"] is not None:
        torch.set_num_threads(settings["threads"])
    return _of_translator(directory, to) if name == "TfmSeq2Seq" else _of_encoder(directory, name)


def _without_experts(directory: Path) -> ModelError:
    return ModelError(f"{directory} has no experts.", "Train one with [model.experts] in its recipe.")


def _of_decoder(directory: Path, settings: Settings, screen: Screen) -> Mixture:
    from engine.checkpoint import load_config

    experts = load_config(directory).experts
    if experts is None:
        raise _without_experts(directory)
    engine = load_exactly(directory, settings, screen)
    return Mixture(engine.model, engine.tokenizer, experts.n_experts, engine.context)


def _of_encoder(directory: Path, name: str | None) -> Mixture:
    """A masked language model, or the encoder of a classifier."""
    from weights.models.classifier import CLASSIFIER, Labeller
    from weights.models.encoder_checkpoint import load_encoder

    if name == CLASSIFIER:
        labeller = Labeller.load(directory)
        model, tokenizer = labeller.model.encoder, labeller.tokenizer
    else:
        model, tokenizer = load_encoder(directory)
    config = model.config
    assert config.experts is not None
    return Mixture(
        model, tokenizer, config.experts.n_experts, config.max_positions, (config.cls_id,), (config.sep_id,)
    )  # fmt: skip


def _of_translator(directory: Path, to: str | None) -> Mixture:
    from weights.models.routes import choose
    from weights.models.translate import Translator

    translator = Translator.load(directory)
    route, model = choose(translator.routes, to, None), translator.model
    experts = model.config.experts  # type: ignore[union-attr]  # no LSTM comes here
    assert experts is not None
    return Mixture(
        model.encoder, translator.tokenizer, experts.n_experts, model.config.max_positions, route.before, route.after,
        read=lambda source: model.start(source, 1),
    )  # fmt: skip
