"""The command lines of `tfm history ...` and `tfm replay`: the conversations that are kept. No torch at start."""

from typing import Annotated

import typer

from chat.groups import Work, command_group
from chat.options import DebugOption

Ids = Annotated[list[str] | None, typer.Argument(help="Sessions, each by the beginning of its id.", metavar="ID")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Limit = Annotated[int, typer.Option("-n", "--limit", min=1, help="How many at most.", metavar="N")]
app = command_group("List, show, search, export and delete conversations.")


@app.command("list")
def list_(limit: Limit = 20, json: Json = False, debug: DebugOption = False) -> Work:
    """The conversations that are kept, the one that was last spoken in first."""
    del debug

    def work() -> int:
        from chat.history import list_sessions

        return list_sessions(limit, json)

    return work


@app.command()
def show(
    session: Annotated[
        str | None, typer.Argument(help="A session by the beginning of its id; the last.", metavar="ID")
    ] = None,
    json: Json = False,
    debug: DebugOption = False,
) -> Work:
    """What was said, with how each answer was made: hashes of model and template, settings, seed."""
    del debug

    def work() -> int:
        from chat.history import show_session

        return show_session(session, json)

    return work


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help='All of them; be* for beginnings, "two words" together.')],
    limit: Limit = 20,
    json: Json = False,
    debug: DebugOption = False,
) -> Work:
    """The conversations in which words were said, the newest first."""
    del debug

    def work() -> int:
        from chat.history import search_sessions

        return search_sessions(" ".join(words), limit, json)

    return work


@app.command()
def export(
    sessions: Ids = None,
    format: Annotated[
        str,
        typer.Option("--format", help="markdown, jsonl (everything, for tfm replay), sharegpt or sft.", metavar="F"),
    ] = "markdown",
    debug: DebugOption = False,
) -> Work:
    """Conversations to stdout; all of them when none is named. sft: what was judged, as the trainer reads it."""
    del debug

    def work() -> int:
        from chat.history import export_sessions

        return export_sessions(sessions or [], format)

    return work


@app.command()
def delete(
    sessions: Ids = None,
    all_: Annotated[bool, typer.Option("--all", help="Every conversation.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    debug: DebugOption = False,
) -> Work:
    """Delete conversations, and their words from the file. Asks, unless --yes is given."""
    del debug

    def work() -> int:
        from chat.history import delete_sessions

        return delete_sessions(sessions or [], all_, yes)

    return work


@app.command()
def path(debug: DebugOption = False) -> Work:
    """Where the conversations are kept, and nothing else on stdout."""
    del debug

    def work() -> int:
        from chat.sessions.schema import store_path

        print(store_path().absolute())
        return 0

    return work


def replay(
    target: Annotated[
        str, typer.Argument(help="A file of `tfm run --json` or `tfm history export`, or a session.", metavar="FILE|ID")
    ],
    verify: Annotated[bool, typer.Option("--verify", help="What cannot be compared counts as different, too.")] = False,
    model: Annotated[str | None, typer.Option("-m", "--model", help="Where the model lies now.", metavar="DIR")] = None,
    debug: DebugOption = False,
) -> Work:
    """Make stored answers again, and say where they differ: the exit code is 5 then.

    From their ids, seed, settings, and the passes in which the context was read: on the same machine and with as many
    threads every bit is the same.
    """
    del debug

    def work() -> int:
        from chat.replay import replay as make_again

        return make_again(target, verify, model)

    return work
