"""`tfm`: the Typer app and the one place where errors become sentences and exit codes.

Typer only reads the command line: a command returns its work, and `run_app` does the work outside of Typer, which
has its own ideas of Ctrl-C and closed pipes. No torch here: each piece of work imports what it needs.
"""

import errno
import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand
from typer.exceptions import Abort, TyperException

from chat import (
    completion_commands,
    config_commands,
    convert_commands,
    encoder_commands,
    history_commands,
    inspect_commands,
    models_commands,
    seq2seq_commands,
    verify_commands,
)
from chat.groups import Work
from chat.options import (
    EXIT_CODES,
    SAMPLING_ORDER,
    ContextOptions,
    ContinueOption,
    ModelOptions,
    OutputOptions,
    SamplingOptions,
    SessionOption,
    given,
    with_options,
)
from chat.quick_app import QuickApp
from chat.wrong_usage import sentence
from engine.errors import OutputError, TfmError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk that is full, for all or for this person
EPILOG = f"{SAMPLING_ORDER}\n\n{EXIT_CODES}"


class Command(TyperCommand):
    """A command whose help shows its flags by group: forty in one list are not read."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each group, in the order of the first flag of each."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                panel = getattr(parameter, "rich_help_panel", None) or ("Arguments" if is_argument else "Options")
                sections.setdefault(panel, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


app = QuickApp(
    name="tfm", add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"tfm {version('tfm')}")
        except PackageNotFoundError:
            typer.echo("tfm (not installed)")
        raise typer.Exit()


@app.callback(invoke_without_command=True, epilog=EXIT_CODES)
def tfm(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Talk with a language model, offline, in the terminal."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command(cls=Command, epilog=EPILOG)
@with_options
def run(
    *,
    prompt: Annotated[
        list[str] | None, typer.Argument(help="The prompt; then come -f files, then stdin.", metavar="PROMPT")
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option("-f", "--file", help="A file of the prompt (repeatable).", metavar="FILE")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, without a template.")] = False,
    prefill: Annotated[str | None, typer.Option("--prefill", help="How the answer begins.", metavar="TEXT")] = None,
    prompts: Annotated[
        str | None,
        typer.Option("--prompts", help="Many prompts, one a line (.jsonl: JSON); - is stdin.", metavar="FILE"),
    ] = None,
    command: Annotated[
        bool, typer.Option("--command", help="Only the shell command in the answer; nothing is run.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The whole result as one JSON object.")] = False,
    stream_json: Annotated[bool, typer.Option("--stream-json", help="One JSON object a line, as it comes.")] = False,
    logprobs: Annotated[
        str | None, typer.Option("--logprobs", help="In JSON: log-probabilities, of N best too.", metavar="N")
    ] = None,
    go_on: ContinueOption = False,
    session: SessionOption = None,
    model: ModelOptions,
    sampling: SamplingOptions,
    context: ContextOptions,
    output: OutputOptions,
) -> Work:
    """Give one answer to stdout: for scripts and pipes."""
    flags = given(model, sampling, context, output)

    def work() -> int:
        from chat.run import Request, run_once
        from chat.settings import gather

        request = Request(prompt or [], file or [], raw, prefill, json, stream_json, logprobs, command, prompts)
        return run_once(request, gather(flags), session=session, last=go_on)

    return work


@app.command(cls=Command, epilog=EPILOG)
@with_options
def chat(
    *,
    go_on: ContinueOption = False,
    session: SessionOption = None,
    model: ModelOptions,
    sampling: SamplingOptions,
    context: ContextOptions,
    output: OutputOptions,
) -> Work:
    """Talk with a model. On the terminal a conversation; from a pipe one line at a time."""
    flags = given(model, sampling, context, output)

    def work() -> int:
        from chat.repl.loop import talk
        from chat.settings import gather

        return talk(gather(flags), session=session, last=go_on)

    return work


for _command in (
    seq2seq_commands.translate, seq2seq_commands.summarize,
    encoder_commands.fill, encoder_commands.embed, encoder_commands.classify, convert_commands.convert,
    history_commands.replay, completion_commands.completion, verify_commands.verify,
):  # fmt: skip
    app.command(cls=Command, epilog=EXIT_CODES)(_command)

app.add_typer(inspect_commands.app, name="inspect")
app.add_typer(models_commands.app, name="models")
app.add_typer(config_commands.app, name="config")
app.add_typer(history_commands.app, name="history")

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=PASSED_ON, add_help_option=False)
def train(ctx: typer.Context) -> Work:
    """Build weights (see `tfm train --help`)."""
    return _weights(ctx, "train")


@app.command(context_settings=PASSED_ON, add_help_option=False)
def bench(ctx: typer.Context) -> Work:
    """Measure speed (see `tfm bench --help`)."""
    return _weights(ctx, "bench")


@app.command("eval", context_settings=PASSED_ON, add_help_option=False)
def evaluate(ctx: typer.Context) -> Work:
    """Measure how good a model is. See `tfm eval --help`."""
    return _weights(ctx, "eval")


def _weights(ctx: typer.Context, name: str) -> Work:
    """Hand a command line to the weights package: the one door from here to there."""

    def work() -> int:
        from weights.cli import main as weights_main

        return weights_main(list(ctx.args), name, _judged)

    return work


def _judged(file: "Path") -> int:
    """What was judged in the kept conversations, into a file for the trainer, which knows nothing of them."""
    from chat.history import write_judged

    return write_judged(file)


def main() -> None:
    """What `tfm` does, once it can tell of a Ctrl-C (entry.py)."""
    if completion_commands.VARIABLE in os.environ:
        completion_commands.answer_shell(app)
    _utf8_streams()
    code = run_app(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        _drop_output()
    sys.exit(code)


def run_app(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code. Every error has become one sentence on stderr by then."""
    debug = "--debug" in arguments
    try:
        code = _parse(_as_utf8(arguments))()
        sys.stdout.flush()
        return code
    except (KeyboardInterrupt, Abort):
        return 130
    except BrokenPipeError:
        _drop_output()
        return 0
    except TfmError as e:
        return _report(str(e), e.exit_code, debug)
    except TyperException as e:  # of `tfm train`, which reads its own command line
        return _report(f"{sentence(e.format_message())} `tfm {arguments[0]} --help` lists what there is.", 2, debug)
    except Exception as e:  # a bug, or the disk is full; this is the edge, nothing goes on
        if isinstance(e, OSError) and e.errno in NO_ROOM:
            where = f" to {e.filename}" if e.filename else ""
            return _report(f"The output cannot be written{where}: {e.strerror}.", OutputError.exit_code, debug)
        detail = f"{type(e).__name__}: {e}" if str(e) else type(e).__name__
        hint = "" if debug else " --debug shows where."
        return _report(f"{detail.rstrip('.')}.{hint}", 1, debug)


def _parse(arguments: Sequence[str]) -> Work:
    """The work that a command line asks for. Help is caught and written as work: Typer minds closed pipes."""
    shown = io.StringIO()
    try:
        with redirect_stdout(shown):
            work = app(arguments, prog_name="tfm", standalone_mode=False)
    except TyperException as e:
        raise UsageError(
            sentence(e.format_message()), "`tfm --help` and `tfm COMMAND --help` list what there is."
        ) from e

    def show() -> int:
        sys.stdout.write(shown.getvalue())
        return work if isinstance(work, int) else 0  # Typer's own code: 130 for a Ctrl-C while it reads the line

    return work if callable(work) else show


def _as_utf8(arguments: Sequence[str]) -> list[str]:
    """The arguments read as UTF-8 whatever the locale, so that a C locale does not change the prompt."""
    try:
        return [os.fsencode(argument).decode() for argument in arguments]
    except UnicodeDecodeError as e:
        raise UsageError("An argument is not UTF-8 text.") from e


def _report(message: str, code: int, debug: bool) -> int:
    """Tell an error on stderr; the names in it may come from a file, so they pass safe_text."""
    from chat.render import safe_text
    from chat.wrapping import fitted

    try:
        if debug:
            import traceback

            sys.stderr.write(safe_text(traceback.format_exc()))
        sys.stdout.flush()
    except OSError:
        _drop_output()
    with suppress(OSError):  # when nobody reads stderr, the exit code still tells
        print(fitted(f"tfm: {safe_text(' '.join(message.split()))}", sys.stderr), file=sys.stderr, flush=True)
    return code


def _utf8_streams() -> None:
    """Output is UTF-8 whatever the locale says; a stream that was closed becomes one that swallows."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")


def _drop_output() -> None:
    """Send what is still buffered nowhere: the reader has gone, and Python would complain at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(devnull, stream.fileno())
    os.close(devnull)
