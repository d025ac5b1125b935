"""The command line of `tfm convert`. Imports no torch at start."""

from typing import Annotated

import typer

from chat.groups import Work
from chat.options import DebugOption
from engine.errors import UsageError


def convert(
    first: Annotated[
        str, typer.Argument(help="A directory, a .gguf file or a name; left out after -m.", metavar="MODEL")
    ],
    second: Annotated[
        str | None, typer.Argument(help="What to write: NAME.gguf, or a directory.", metavar="OUT")
    ] = None,
    quant: Annotated[
        str | None,
        typer.Option("--quant", help="Of a file: f32, f16, bf16, q8_0 or q4_0 [as exact as it is].", metavar="TYPE"),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="Of a directory: float32, float16 or bfloat16 [as it is].", metavar="TYPE"),
    ] = None,
    merge: Annotated[
        str | None, typer.Option("--merge", help="A PEFT directory (LoRA) to merge first.", metavar="ADAPTER")
    ] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", help="The model, by a flag.", metavar="DIR")] = None,
    debug: DebugOption = False,
) -> Work:  # fmt: skip
    """Write a model anew, to take it elsewhere.

    NAME.gguf is a file for llama.cpp and what is built on it, such as ollama, with the tokenizer and the chat template
    in it. A directory is one for transformers and vLLM.
    Without --quant and --dtype nothing is rounded that was not.
    """
    del debug

    def work() -> int:
        from chat.convert import convert as write

        if (model is None) == (second is None):
            what = "Name a model and what to write" if model is None else "The model is named twice"
            raise UsageError(f"{what}.", "`tfm convert MODEL OUT`, or `tfm convert -m MODEL OUT`.")
        source, out = (model, first) if second is None else (first, second)
        assert source is not None
        return write(source, out, adapter=merge, quant=quant, dtype=dtype)

    return work
