"""Flags that several commands share, each declared once; `with_options` gives a command those it asks for.

Every flag is read as text and is None when it was not given: settings.py checks it in the same way as the same
setting from the environment or a file, and knows which of them won. Torch-free.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from chat.completion_commands import choices_of

T = TypeVar("T")
COMPLETED = ("model", "preset", "dtype", "kv", "quant", "overflow", "sampler_order", "theme")  # Tab offers their values

SAMPLING_ORDER = """Sampling, in this order: logits in float32; forbidden tokens out; --logit-bias;
--repetition-penalty; --presence-penalty and --frequency-penalty; --greedy or temperature 0 ends here;
--temperature; --top-k; --top-p; --min-p; --typical-p; renormalise and draw one number.
This is the order of transformers; --sampler-order llama.cpp cuts first and divides by the temperature last.
What is not set is off, or as the model's generation_config.json says."""

EXIT_CODES = """Exit codes: 0 done; 1 a bug; 2 wrong usage; 3 the model cannot be used; 4 the prompt does not fit
the context; 5 a verification differs; 6 training data cannot be used; 130 interrupted."""

# For the commands whose other flags are no settings.
ThreadsOption = Annotated[str | None, typer.Option("--threads", help="How many threads compute.", metavar="N")]
ContinueOption = Annotated[
    bool, typer.Option("-c", "--continue", help="Go on where the last one ended.", rich_help_panel="Sessions")
]
SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session",
        help="Go on with this one of `tfm history list`.",
        metavar="ID",
        rich_help_panel="Sessions",
        autocompletion=choices_of("session"),
    ),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _flag(panel: str, help_text: str, *names: str, metavar: str | None = None) -> Any:
    name = names[-1].lstrip("-").replace("-", "_")
    offer = choices_of(name) if name in COMPLETED else None
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=panel, autocompletion=offer)


def _model(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return _flag("Model", help_text, *names, metavar=metavar)


def _sampling(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return _flag("Sampling", help_text, *names, metavar=metavar)


def _context(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return _flag("Context", help_text, *names, metavar=metavar)


def _output(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return _flag("Output", help_text, *names, metavar=metavar)


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and how it is held."""

    model: Annotated[
        str | None, _model("A name of `tfm models list`, a part of one, or a path.", "-m", "--model", metavar="DIR")
    ] = None
    adapter: Annotated[
        str | None, _model("A PEFT directory (LoRA), merged into the model's weights.", "--adapter", metavar="DIR")
    ] = None
    dtype: Annotated[
        str | None, _model("auto, float32 or bfloat16; auto takes what is faster here.", "--dtype", metavar="TYPE")
    ] = None
    quant: Annotated[
        str | None,
        _model("Quantise float weights as they are read: none, q8_0 or q4_0.", "--quant", metavar="TYPE"),
    ] = None
    kv: Annotated[
        str | None,
        _model(
            "The cache of what was read: auto (as --dtype), bf16, or int8 (least memory, slower).",
            "--kv",
            metavar="TYPE",
        ),
    ] = None
    device: Annotated[str | None, _model("Where it runs, such as cpu.", "--device", metavar="DEVICE")] = None
    threads: Annotated[str | None, _model("How many threads compute.", "--threads", metavar="N")] = None
    template: Annotated[
        str | None, _model("A chat template by name, or a .jinja or JSON file of one.", "--template", metavar="NAME")
    ] = None
    server: Annotated[
        str | None,
        _model("An OpenAI-compatible server runs the model; -m is one of its models.", "--server", metavar="URL"),
    ] = None
    offline: Annotated[bool | None, _model("Refuse whatever would leave this machine.", "--offline")] = None


@dataclass(frozen=True)
class SamplingOptions:
    """How a token is chosen."""

    preset: Annotated[
        str | None,
        _sampling("precise, balanced, creative, or your own (`tfm config presets`).", "--preset", metavar="NAME"),
    ] = None
    greedy: Annotated[bool | None, _sampling("Always the most probable token.", "--greedy")] = None
    temperature: Annotated[
        str | None, _sampling("Divides the logits; 0 is greedy.", "-t", "--temperature", metavar="X")
    ] = None
    top_k: Annotated[str | None, _sampling("Only the K best; 0 is off.", "--top-k", metavar="K")] = None
    top_p: Annotated[
        str | None, _sampling("Only the fewest tokens whose sum reaches P; 1 is off.", "--top-p", metavar="P")
    ] = None
    min_p: Annotated[
        str | None, _sampling("Only tokens of at least P times the best; 0 is off.", "--min-p", metavar="P")
    ] = None
    typical_p: Annotated[str | None, _sampling("Typical sampling; 1 is off.", "--typical-p", metavar="P")] = None
    repetition_penalty: Annotated[
        str | None,
        _sampling("Against tokens of prompt and answer; 1 is off.", "--repetition-penalty", metavar="X"),
    ] = None
    presence_penalty: Annotated[
        str | None, _sampling("Against tokens of the answer; 0 is off.", "--presence-penalty", metavar="X")
    ] = None
    frequency_penalty: Annotated[
        str | None,
        _sampling("The same for each time a token has come; 0 is off.", "--frequency-penalty", metavar="X"),
    ] = None
    logit_bias: Annotated[
        list[str] | None,
        _sampling("Adds X to one token, an id or its text (repeatable).", "--logit-bias", metavar="TOKEN=X"),
    ] = None
    stop: Annotated[
        list[str] | None, _sampling("Ends the answer before this text (repeatable).", "--stop", metavar="TEXT")
    ] = None
    max_new_tokens: Annotated[
        str | None, _sampling("The longest answer, in tokens.", "-n", "--max-new-tokens", metavar="N")
    ] = None
    min_new_tokens: Annotated[
        str | None, _sampling("No end before so many tokens.", "--min-new-tokens", metavar="N")
    ] = None
    seed: Annotated[
        str | None, _sampling("Repeats a draw; one is drawn and told if not given.", "--seed", metavar="N")
    ] = None
    sampler_order: Annotated[
        str | None, _sampling("transformers (the default) or llama.cpp.", "--sampler-order", metavar="ORDER")
    ] = None


@dataclass(frozen=True)
class ContextOptions:
    """What the model reads."""

    system: Annotated[str | None, _context("The system prompt.", "-s", "--system", metavar="TEXT")] = None
    system_file: Annotated[str | None, _context("The system prompt, from a file.", "--system-file", metavar="FILE")] = (
        None
    )
    context: Annotated[str | None, _context("Positions in use, at most the model's.", "--context", metavar="N")] = None
    overflow: Annotated[
        str | None,
        _context("When it is full: error, drop-oldest (turns) or shift.", "--overflow", metavar="POLICY"),
    ] = None
    ground: Annotated[
        bool | None, _context("Look up examples for a question at the shell (the default).", "--ground/--no-ground")
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """What is shown beside the answer."""

    stats: Annotated[bool | None, _output("Tell counts and speeds on stderr.", "--stats")] = None
    show_sources: Annotated[bool | None, _output("Tell on stderr which examples were looked up.", "--show-sources")] = (
        None
    )
    hide_thinking: Annotated[
        bool | None, _output("Only tell how long a reasoning model thought.", "--hide-thinking")
    ] = None
    theme: Annotated[str | None, _output("Colours: dark (the default), light or none.", "--theme", metavar="NAME")] = (
        None
    )
    plain: Annotated[bool | None, _output("No colours, no cursor movements, plain line input.", "--plain")] = None
    raw_output: Annotated[
        bool | None, _output("Send the model's text as it is: it can drive your terminal.", "--raw-output")
    ] = None
    history: Annotated[bool | None, _flag("Sessions", "Keep what is said (the default).", "--history/--no-history")] = (
        None
    )
    debug: Annotated[bool | None, _output("Show the traceback of an error.", "--debug")] = None


GROUPS: tuple[type[Any], ...] = (ModelOptions, SamplingOptions, ContextOptions, OutputOptions)


def with_options(command: Callable[..., T]) -> Callable[..., T]:
    """The command with each parameter that is a group of options replaced by the flags of the group."""
    expanded: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for parameter in inspect.signature(command).parameters.values():
        if parameter.annotation not in GROUPS:
            expanded.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = parameter.annotation
        hints = get_type_hints(parameter.annotation, include_extras=True)
        expanded += [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
            for f in fields(parameter.annotation)
        ]

    def flat(**values: Any) -> T:
        grouped = {name: group(**{f.name: values.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        return command(**values, **grouped)

    flat.__name__, flat.__doc__ = command.__name__, command.__doc__
    flat.__signature__ = inspect.Signature(expanded)  # type: ignore[attr-defined]
    return flat


def given(*groups: Any) -> dict[str, Any]:
    """The flags that were given, by the name of their setting."""
    pairs = ((f.name, getattr(group, f.name)) for group in groups for f in fields(group))
    return {name: value for name, value in pairs if value not in (None, [])}
