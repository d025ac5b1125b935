"""The builder of the command examples, and the database that ships."""

import json
import lzma
import sqlite3
from pathlib import Path
from random import Random

import pytest

from engine.errors import DataError
from engine.lookup import FILE, Lookup, context_text, look_up
from engine.template import Message
from weights.cli import main
from weights.data import examples, shell_cues
from weights.data.examples import OWN, SOURCES, Row, chosen, corpus_rows, own_rows, prior, write
from weights.data.own import GENERATORS
from weights.data.own.heldout import heldout_prompts, plain

SHIPPED = Path(__file__).parents[2] / "weights" / "default" / FILE
shipped = pytest.mark.skipif(not SHIPPED.is_file(), reason="no examples ship with this copy")


def shell_row(description: str, command: str, platform: str = "common", source: str = "tldr-pages") -> dict[str, str]:
    tool = command.split()[0]
    return {"tool": tool, "platform": platform, "description": description, "command": command, "source": source}


TLDR = [
    shell_row("List files one per line", "ls -1"),
    shell_row("Show the configuration", "defaults read", "osx"),
    shell_row("Clear the screen of Windows", "cls", "windows"),
    shell_row("Write two lines", "echo a\necho b", "linux"),
    shell_row("Do something that is very long", "ls " + "x" * 200),
    shell_row("Show all listening TCP sockets", "ss -lt", "linux"),
    shell_row("Show the `status` of a branch (see also `git log`)", "git status"),
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus of a few rows in the places where the builder looks."""

    def put(name: str, rows: list[object]) -> None:
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))

    put("shell/tldr.train.jsonl.xz", TLDR)  # type: ignore[arg-type]
    put(
        "shell/nl2bash.train.jsonl.xz",
        [shell_row("find all text files below here", "find . -name '*.txt'", "linux", "nl2bash")],
    )
    put(
        "shell/cheatsheets.train.jsonl.xz",
        [shell_row("Start a web server", "python3 -m http.server", "linux", "cheat/cheatsheets")],
    )
    put("text/techdocs.train.jsonl.xz", [{"text": "Type\n\n    ss -lt\n    ls -1\n"}])
    put("text/howto.train.jsonl.xz", [{"text": "Nothing"}])
    talk = [{"role": "user", "content": "I went to the cinema"}, {"role": "assistant", "content": "How was it?"}]
    for name in shell_cues.CHATS:
        put(f"chat/{name}.train.jsonl.xz", [{"messages": talk}] * 20)
    question = {"question": "What is the capital of France?", "answer": "Paris.", "kind": "fact"}
    verb = {"question": 'Define the verb "bake".', "answer": "Make bread in an oven.", "kind": "definition"}
    put("qa/qa.train.jsonl.xz", [question, verb] * 20)
    return tmp_path / "corpus"


def test_rows_for_other_systems_of_several_lines_or_of_great_length_are_left_out(corpus: Path) -> None:
    rows = list(corpus_rows(corpus))
    assert {r.command for r in rows} == {
        "ls -1", "ss -lt", "git status", "find . -name '*.txt'", "python3 -m http.server",
    }  # fmt: skip
    assert next(r.description for r in rows if r.tool == "git") == "Shows the status of a branch"


def test_a_missing_corpus_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tldr\.train"):
        list(corpus_rows(tmp_path))
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path / "no" / "such" / "x.sqlite", [], [], {})


def test_every_own_task_is_one_row_with_its_wordings() -> None:
    rows = own_rows()
    assert len({r.command for r in rows}) == len(rows) > 500
    assert all(len(r.wordings) >= 2 and r.source == OWN for r in rows)


def test_no_wording_is_a_held_out_prompt() -> None:
    """Neither alone nor with nothing but the words of a question around it."""
    prompts = heldout_prompts()
    for row in own_rows():
        for wording in row.wordings:
            assert not {plain(wording), "how do i " + plain(wording), "how to " + plain(wording)} & prompts


def test_a_kind_of_command_is_kept_a_few_times_and_a_rare_tool_not_at_all() -> None:
    many = [Row(f"Find files of kind {i}", f"find . -name '*.{i}'", "find", "nl2bash", ("x",)) for i in range(9)]
    rare = Row("Do a rare thing", "rarest --thing", "rarest", "tldr-pages", ("x",))
    own = Row("Do an own thing", "rarest", "rarest", OWN, ("x",))
    kept = chosen([own, *many, *many, rare], {"find": 3.0})
    assert [r.command for r in kept] == ["rarest", "find . -name '*.0'", "find . -name '*.1'"]


def test_the_prior_prefers_own_tasks_common_tools_and_simple_commands() -> None:
    def of(command: str, source: str, uses: float) -> int:
        return prior(Row("", command, "x", source, ()), {"x": uses})

    assert of("x", OWN, 2) > of("x", "tldr-pages", 2) > of("x", "nl2bash", 2)
    assert of("x", OWN, 5) > of("x", OWN, 2)
    assert of("x -a", OWN, 2) > of("x -a | y | z", OWN, 2)


def test_the_command_line_makes_the_same_bytes_twice(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = own_rows()[:30]
    monkeypatch.setattr(examples, "own_rows", lambda: few)
    for name, most in (("OWN_TURNS", 30), ("SHELL_TURNS", 30)):
        monkeypatch.setattr(shell_cues, name, most)
    made = []
    for name in ("a.sqlite", "b.sqlite"):
        assert main(["examples", "--corpus", str(corpus), "--out", str(tmp_path / name)]) == 0
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    assert capsys.readouterr().out.splitlines()[0].endswith("a.sqlite")
    lookup = Lookup(tmp_path / "a.sqlite")
    assert lookup.find("how do I see listening TCP sockets?")[0].command == "ss -lt"
    assert not lookup.is_shell_question("I went to the cinema")
    assert set(lookup.sources) <= {s.name for s in SOURCES}


@pytest.fixture(scope="module")
def lookup() -> Lookup:
    return Lookup(SHIPPED)


@shipped
def test_the_shipped_file_is_small_sound_and_says_whose_it_is(lookup: Lookup) -> None:
    assert SHIPPED.stat().st_size <= 4_200_000
    with sqlite3.connect(SHIPPED) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        used = {name for (name,) in db.execute("SELECT DISTINCT source FROM examples")}
        lines = db.execute("SELECT count(*) FROM examples WHERE command LIKE '%' || char(10) || '%'").fetchone()
    db.close()
    assert lines == (0,)
    assert used == set(lookup.sources)
    assert all(s.licence and s.attribution for s in lookup.sources.values())


@shipped
@pytest.mark.parametrize("name", ["identity", "personas", "memory", "smalltalk", "arithmetic"])
def test_no_own_talk_looks_anything_up(name: str, lookup: Lookup) -> None:
    """Personas and small talk, drawn with a seed that the cues were not learned from."""
    turns = [
        messages[: i + 1]
        for messages in GENERATORS[name](Random(20_261), 400)
        for i, message in enumerate(messages[:-1])
        if message.role == "user" and not messages[i + 1].content.startswith("`")
    ]
    grounded = [turn[-1].content for turn in turns if look_up(turn, lookup)]
    assert len(turns) >= 400
    assert len(grounded) <= len(turns) // 500, grounded


@shipped
def test_own_questions_at_the_shell_are_grounded_and_hold_their_tool(lookup: Lookup) -> None:
    found = asked = 0
    for messages in GENERATORS["everyday"](Random(20_261), 300):
        users = [m for m in messages if m.role == "user"]
        command = messages[-1].content.partition("\n")[0].strip("`")
        if len(users) == 1 and messages[-1].content.startswith("`"):
            asked += 1
            given = look_up(users, lookup)
            found += any(e.command.split()[0] == command.split()[0] for e in given)
    assert found >= 0.9 * asked > 100


@shipped
@pytest.mark.parametrize(
    ("question", "tool"),
    [
        ("how do I see which process uses port 8080?", "lsof"),
        ("what does `tar xzf a.tgz` do?", "tar"),
        ("explain chmod 755 file", "chmod"),
        ("compress a folder", "tar"),
    ],
)
def test_the_shipped_examples_answer_common_questions(question: str, tool: str, lookup: Lookup) -> None:
    given = look_up([Message("user", question)], lookup)
    assert tool in {e.tool for e in given}
    assert context_text(given).count("\n") == len(given) - 1 <= 4
