"""The command lines of `tfm config ...`: the settings and where each comes from. Imports no torch at start."""

from typing import Annotated

import typer

from chat.groups import Work, command_group
from chat.options import (
    ContextOptions,
    DebugOption,
    ModelOptions,
    OutputOptions,
    SamplingOptions,
    given,
    with_options,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
app = command_group("Show the settings and where they come from.")


@app.command()
@with_options
def show(
    *, json: Json = False, model: ModelOptions, sampling: SamplingOptions, context: ContextOptions,
    output: OutputOptions,
) -> Work:  # fmt: skip
    """Every setting as `tfm run` and `tfm chat` would have it with these flags, and what set it.

    The nearest wins: flag, TFM_* variable, preset, settings file, the model's generation_config.json, default.
    What is shown is a settings file: it can be copied into one.
    """
    flags = given(model, sampling, context, output)

    def work() -> int:
        from chat.config_show import show_settings
        from chat.settings import gather

        return show_settings(gather(flags), json)

    return work


@app.command()
def presets(json: Json = False, debug: DebugOption = False) -> Work:
    """The presets that --preset takes, and what each sets."""
    del debug

    def work() -> int:
        from chat.config_show import show_presets

        return show_presets(json)

    return work


@app.command()
def path(debug: DebugOption = False) -> Work:
    """Where the settings file is, or would be, and nothing else on stdout."""
    del debug

    def work() -> int:
        from chat.settings import settings_file

        print(settings_file())
        return 0

    return work
