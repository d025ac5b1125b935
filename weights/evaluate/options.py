"""The command line of `tfm eval`, and which evaluation a model directory is for. Imports no torch at start."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from weights.options import APP, CorpusOption, ThreadsOption

RECIPES = Path(__file__).parents[1] / "recipes"

app = typer.Typer(
    name="tfm eval",
    **APP,
)


@dataclass(frozen=True)
class Asked:
    """What the command line asked for. recipe: None is that of the model of this kind that ships."""

    model: Path
    corpus: Path
    recipe: Path | None
    as_json: bool
    card: bool
    samples: Path | None
    baselines: tuple[Path, ...]
    threads: int | None

    def refuse(self, flag: str, given: object, kind: str) -> None:
        """Raise UsageError for a flag that has no place in the evaluation of this kind of model."""
        from engine.errors import UsageError

        if given:
            raise UsageError(f"{flag} has no place in the evaluation of {kind}.")


def chat_model(asked: Asked) -> None:
    """A decoder that talks: held-out text, fixed prompts, shell tasks."""
    from weights.recipe import read_recipe

    asked.refuse("--baseline", asked.baselines, "a chat model")
    recipe = read_recipe(asked.recipe or RECIPES / "default.toml")
    from weights.evaluate.command import Request, run

    run(Request(asked.model, asked.corpus, recipe, asked.as_json, asked.card, asked.samples, asked.threads))


def translator(asked: Asked) -> None:
    """An encoder-decoder that translates: chrF and BLEU of held-out pairs, beside baselines."""
    from weights.translation_recipe import read_translator_recipe

    asked.refuse("--samples", asked.samples, "a translator")
    recipe = read_translator_recipe(asked.recipe or RECIPES / "translator.toml")
    from weights.evaluate.translator import Request, run

    run(Request(asked.model, asked.corpus, recipe, asked.as_json, asked.card, asked.baselines, asked.threads))


def masked_lm(asked: Asked) -> None:
    """An encoder: hidden tokens of held-out text, and retrieval among held-out pairs, beside baselines."""
    from weights.recipe import read_recipe

    asked.refuse("--samples", asked.samples, "a masked language model")
    recipe = read_recipe(asked.recipe or RECIPES / "masked-lm.toml")
    from weights.evaluate.encoder import Request, run

    run(Request(asked.model, asked.corpus, recipe, asked.as_json, asked.card, asked.baselines, asked.threads))


# By the first of a config.json's `architectures`; what is not here is taken for a decoder.
EVALUATIONS: dict[str, Callable[[Asked], None]] = {
    "TfmSeq2Seq": translator, "TfmLSTM": translator, "TfmEncoder": masked_lm,
}  # fmt: skip


@app.command()
def measure(
    corpus: CorpusOption,
    model: Annotated[
        Path, typer.Option("-m", "--model", help="A model directory, or the name of a model that ships.")
    ] = Path("default"),
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Names the data's files; the shipped model's, if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The numbers as one JSON object.")] = False,
    card: Annotated[bool, typer.Option("--card", help="Write the model directory's README.md, its card.")] = False,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", metavar="FILE", help="Write a chat model's everyday prompts and answers there."),
    ] = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option("--baseline", metavar="DIR", help="A model to stand beside a translator (repeatable)."),
    ] = None,
    threads: ThreadsOption = None,
) -> None:
    """Measure a model on held-out data: a chat model also on fixed prompts, a translator beside a dictionary."""
    from weights.models.kinds import architecture
    from weights.tune import base_directory

    directory = base_directory(model)
    evaluation = EVALUATIONS.get(architecture(directory) or "", chat_model)
    evaluation(Asked(directory, corpus, recipe, as_json, card, samples, tuple(baseline or ()), threads))
