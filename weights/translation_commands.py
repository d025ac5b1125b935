"""`tfm train translator`: an encoder-decoder from a recipe and sentence pairs. Imports no torch at start."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[Path, typer.Argument(help="A recipe such as weights/recipes/translator.toml.")]
CorpusOption = Annotated[Path, typer.Option("--corpus", help="The directory that the recipe's file names start from.")]
OutOption = Annotated[Path, typer.Option("--out", help="Where tokenizer, states, metrics and the model go.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value, as in model.d_model=256.")
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Threads for the arithmetic.")]
CompileOption = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="Use torch.compile; by default where gcc is found.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="Where it runs: cpu, cuda.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first bad line instead of leaving it out.")]
StopAfterOption = Annotated[int | None, typer.Option("--stop-after", min=1, help="Save and leave after this step.")]
BoardOption = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events too.")]
EvaluateOption = Annotated[
    bool, typer.Option("--evaluate", help="Only measure the model that was made: chrF, BLEU, and a dictionary's.")
]


def translator(
    recipe: RecipeArgument, corpus: CorpusOption, out: OutOption, changes: SetOption = None,
    evaluate: EvaluateOption = False, threads: ThreadsOption = None, compiled: CompileOption = None,
    device: DeviceOption = "cpu", strict: StrictOption = False, stop_after: StopAfterOption = None,
    tensorboard: BoardOption = False,
) -> None:  # fmt: skip
    """A translator: tokenizer, training, and the model directory. Goes on where it was cut."""
    from engine.errors import DataError
    from weights.translation_recipe import read_translator_recipe

    parsed = read_translator_recipe(recipe, tuple(changes or ()))  # before torch: a mistake is told at once
    import torch

    from engine.hardware import resolve_device
    from weights.train.parallel import world
    from weights.translation import TranslatorShop, evaluate_model, export, run_translator

    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DataError(f"--out {out} cannot be a directory: {e.strerror}.") from e
    shop = TranslatorShop(
        parsed, corpus, out, compiled=compiled, strict=strict, stop_after=stop_after, tensorboard=tensorboard
    )
    if evaluate:
        return typer.echo(evaluate_model(shop))
    with world("replicate", resolve_device(device)) as joined:
        done = run_translator(replace(shop, world=joined))
    if done and joined.is_first:
        typer.echo(export(shop))
    elif not done and stop_after is None:
        raise KeyboardInterrupt  # stopped by a signal (saved, and told): Typer turns this into exit code 130
