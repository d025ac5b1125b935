"""`tfm train translator`: an encoder-decoder from a recipe and sentence pairs. Imports no torch at start."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from weights.options import (
    BoardOption,
    CompileOption,
    CorpusOption,
    DeviceOption,
    StopAfterOption,
    StrictOption,
    ThreadsOption,
    begin_run,
)

RecipeArgument = Annotated[Path, typer.Argument(help="A recipe such as weights/recipes/translator.toml.")]
OutOption = Annotated[Path, typer.Option("--out", help="Where tokenizer, states, metrics and the model go.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value, as in model.d_model=256.")
]
EvaluateOption = Annotated[
    bool, typer.Option("--evaluate", help="Only measure the model that was made: `tfm eval --json --card` of it.")
]


def translator(
    recipe: RecipeArgument, corpus: CorpusOption, out: OutOption, changes: SetOption = None,
    evaluate: EvaluateOption = False, threads: ThreadsOption = None, compiled: CompileOption = None,
    device: DeviceOption = "cpu", strict: StrictOption = False, stop_after: StopAfterOption = None,
    tensorboard: BoardOption = False,
) -> None:  # fmt: skip
    """A translator: tokenizer, training, and the model directory. Goes on where it was cut."""
    from weights.translation_recipe import read_translator_recipe

    parsed = read_translator_recipe(recipe, tuple(changes or ()))  # before torch: a mistake is told at once
    begin_run(out, threads)
    if evaluate:
        from weights.evaluate.translator import Request, run

        run(Request(out / "model", corpus, parsed, as_json=True, card=True, threads=threads))
        return
    from engine.hardware import resolve_device
    from weights.train.parallel import world
    from weights.translation import TranslatorShop, export, run_translator

    shop = TranslatorShop(
        parsed, corpus, out, compiled=compiled, strict=strict, stop_after=stop_after, tensorboard=tensorboard
    )
    with world("replicate", resolve_device(device)) as joined:
        done = run_translator(replace(shop, world=joined))
    if done and joined.is_first:
        typer.echo(export(shop))
    elif not done and stop_after is None:
        raise KeyboardInterrupt  # stopped by a signal (saved, and told): Typer turns this into exit code 130
