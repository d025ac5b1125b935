"""The command line of `tfm eval`. Imports no torch at start."""

from pathlib import Path
from typing import Annotated

import typer

from weights.options import APP, CorpusOption, ThreadsOption

RECIPE = Path(__file__).parents[1] / "recipes" / "default.toml"

app = typer.Typer(
    name="tfm eval",
    **APP,
)


@app.command()
def measure(
    corpus: CorpusOption,
    model: Annotated[
        Path, typer.Option("-m", "--model", help="A model directory, or the name of a model that ships.")
    ] = Path("default"),
    recipe: Annotated[
        Path, typer.Option("--recipe", help="Names the sources and their files; the default model's, if not given.")
    ] = RECIPE,
    as_json: Annotated[bool, typer.Option("--json", help="The numbers as one JSON object.")] = False,
    card: Annotated[bool, typer.Option("--card", help="Write the model directory's README.md, its card.")] = False,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", metavar="FILE", help="Write the everyday prompts and answers there."),
    ] = None,
    threads: ThreadsOption = None,
) -> None:
    """Measure a model: held-out text, fixed prompts, shell tasks, and what validation and training files share."""
    from weights.recipe import read_recipe

    parsed = read_recipe(recipe)
    from weights.evaluate.command import Request, run
    from weights.tune import base_directory

    run(Request(base_directory(model), corpus, parsed, as_json, card, samples, threads))
