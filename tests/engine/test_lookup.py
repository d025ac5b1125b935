"""The look-up of command examples: what is found, what is left alone, and what no text can break."""

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.api import Engine
from engine.errors import ModelError
from engine.lookup import SCHEMA, Example, Lookup, context_text, ground, is_shell_turn, look_up, row_id
from engine.params import SamplingParams
from engine.template import TFM, Message
from engine.wording import asked, command_in, cues, kind, parts, terms, token, tool_of

# description | command | further wordings
TABLE = """
List files|ls|show the files here/see what is in this folder
List all files, also hidden ones|ls -a|show dotfiles
Create a compressed archive of a directory|tar czf archive.tar.gz mydir|make a tar.gz file
Extract a compressed archive|tar xzf archive.tar.gz|unpack a tar.gz file/open a tar file
List the contents of an archive|tar tzf archive.tar.gz|see what is inside a tar.gz file
Extract a zip archive|unzip archive.zip|open a zip file
Show the free space of each disk|df -h|check how much disk space is left
Show the size of a directory|du -sh mydir|how big is this folder
Change the permissions of a file|chmod 755 file|set permissions
Make a script executable|chmod +x script.sh|allow a script to run
Find files by name|find . -name "*.txt"|search for text files
Find large files|find . -size +100M|search for big files
Stop a process by its number|kill 1234|end a process
Show all processes|ps aux|see what is running
Update the list of packages|apt-get update|refresh the packages
"""
SHELL_CUES = ("how do", "do i", "command", "extract", "archive", "files", "file", "disk", "list", "chmod", "directory")
OTHER_CUES = ("you", "your", "name", "hello", "are you", "story", "who", "weather", "i am", "my")


def write(path: Path, rows: Sequence[str]) -> Path:
    """A small database, as weights/data/examples.py makes the large one."""
    with sqlite3.connect(path) as db:
        for statement in SCHEMA.values():
            db.execute(statement)
        db.execute("INSERT INTO sources VALUES ('own', 'Apache-2.0', 'us')")
        weights = dict.fromkeys(SHELL_CUES, 200) | dict.fromkeys(OTHER_CUES, -200) | {"": -100}
        db.executemany("INSERT INTO cues VALUES (?,?)", weights.items())
        cells = [row.split("|") for row in rows]
        db.executemany("INSERT INTO tools VALUES (?)", [(t,) for t in sorted({tool_of(c[1]) for c in cells})])
        for number, (description, command, more) in enumerate(cells, 1):
            example = (number, description, command, tool_of(command), "own", 100)
            db.execute("INSERT INTO examples VALUES (?,?,?,?,?,?)", example)
            for index, wording in enumerate((description, *more.split("/"))):
                words = terms(wording)
                of_command = " ".join(parts(command)) if not index else ""
                row = (row_id(number, index, len(words)), token(tool_of(command)), " ".join(words), of_command)
                db.execute("INSERT INTO wordings(rowid, tool, words, command) VALUES (?,?,?,?)", row)
    db.close()
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("examples") / "examples.sqlite", TABLE.strip().splitlines())


@pytest.fixture(scope="module")
def lookup(path: Path) -> Lookup:
    return Lookup(path)


def commands(examples: Sequence[Example]) -> list[str]:
    return [e.command for e in examples]


@pytest.mark.parametrize(
    ("question", "command"),
    [
        ("How do I extract a tar.gz archive?", "tar xzf archive.tar.gz"),
        ("unpack a tar.gz", "tar xzf archive.tar.gz"),
        ("how can I see all files including hidden ones", "ls -a"),
        ("how much disk space is left?", "df -h"),
        ("what is the command to show hidden files", "ls -a"),
        ("delete nothing, just find the largest files", "find . -size +100M"),
        ("HOW DO I MAKE A SCRIPT EXECUTABLE", "chmod +x script.sh"),
        ("which processes are running", "ps aux"),
    ],
)
def test_the_nearest_example_comes_first(question: str, command: str, lookup: Lookup) -> None:
    assert commands(lookup.find(question))[0] == command


@pytest.mark.parametrize(
    ("question", "command"),
    [
        ("what does `tar xzf photos.tgz` do", "tar xzf archive.tar.gz"),
        ("what does tar xzf photos.tgz do?", "tar xzf archive.tar.gz"),
        ("explain chmod 755 file", "chmod 755 file"),
        ("Explain: ls -a", "ls -a"),
        ("what does this do?\n```sh\nls -a\n```", "ls -a"),
        ("what happens if I run `sudo apt-get update`?", "apt-get update"),
        ("find . -size +2G fails here", "find . -size +100M"),
    ],
)
def test_a_command_in_a_question_is_looked_up_by_its_tool_and_flags(
    question: str, command: str, lookup: Lookup
) -> None:
    found = lookup.find(question)
    assert commands(found)[0] == command
    assert {e.tool for e in found} == {tool_of(command)}
    assert lookup.is_shell_question(question)


def test_a_follow_up_is_looked_up_with_the_question_before(lookup: Lookup) -> None:
    before, after = "how do I extract a tar.gz archive?", "and how do I list its contents?"
    assert commands(lookup.find(after, before))[0] == "tar tzf archive.tar.gz"
    assert lookup.is_shell_question(after, before)
    assert not lookup.is_shell_question("and who are you?", before)
    assert not lookup.is_shell_question("and its name?", "who are you?")


def test_one_of_each_kind_of_command_and_no_more_than_asked_for(lookup: Lookup) -> None:
    found = lookup.find("show files archive directory permissions process", limit=3)
    assert len(found) == 3
    assert len({kind(c) for c in commands(found)}) == 3
    assert lookup.find("list files", limit=0) == ()


def test_what_is_near_nothing_finds_nothing(lookup: Lookup) -> None:
    assert lookup.find("how do I boil an egg on a camping stove near the glacier?") == ()
    assert lookup.find("") == lookup.find("???") == lookup.find("the of and") == ()


HOSTILE = [
    '"', "'", "*", "files*", "a AND b", "NEAR(files archive)", "tool:ls", "{tool words}: files", "^files", "-files",
    'files" OR "1"="1', "'; DROP TABLE examples; --", "files\0archive", "\ud800 files", "NOT files", "((((", "`", "``",
    "`` ` ``", "files " * 10_000, "\x1b[2Jfiles", "²³", "ﬁles", "Ⅳ", "ı", "İstanbul", "你好 files", "a\u0300" * 500,
    "`" + "x" * 5000, "what does " * 2000, "explain " + "-a " * 3000, "e.g. `ls`", "sudo " * 3000, "/" * 4000,
    "explain x" + " " * 4000 + "y", "a " + " " * 4000 + "-", "`" + " " * 4000, "a" * 4000 + " -", "A=" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_read_as_syntax_or_breaks_the_look_up(text: str, lookup: Lookup) -> None:
    found = lookup.find(text, text)
    assert all(isinstance(e, Example) for e in found) and len(found) <= 5
    assert lookup.is_shell_question(text, text) in (True, False)
    assert lookup.sources["own"].licence == "Apache-2.0"  # the tables are as they were


@given(st.text(), st.text(max_size=40))
@example("files OR", "archive NOT")
def test_any_text_can_be_looked_up(text: str, before: str) -> None:
    assert len(ANY.find(text, before)) <= 5
    assert isinstance(ANY.is_shell_question(text, before), bool)
    assert terms(text) == terms(text) and len(list(cues(text))) <= 121
    assert isinstance(tool_of(text), str) and parts(text) is not None and kind(text) is not None


@given(st.lists(st.sampled_from(["files", "tar", "-x", '"', "OR", "`", "how do I", "(", "the", ":", "é"]), max_size=30))
def test_any_mixture_of_words_and_syntax_can_be_looked_up(words: list[str]) -> None:
    assert len(ANY.find(" ".join(words))) <= 5


def test_the_words_of_a_long_question_are_capped() -> None:
    long = " ".join(f"word{i}" for i in range(10_000))
    assert len(" ".join(asked(long))) <= 4000
    assert len(list(cues(long))) <= 121
    assert command_in(long, frozenset({"ls"})) == ("", False)


def test_the_database_is_never_written(path: Path) -> None:
    before = path.read_bytes(), sorted(path.parent.iterdir())
    path.chmod(0o444)
    lookup = Lookup(path)
    lookup.find("extract an archive")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        lookup._db.execute("DELETE FROM examples")
    assert (path.read_bytes(), sorted(path.parent.iterdir())) == before


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no command examples .*nothing\.sqlite"):
        Lookup(tmp_path / "nothing.sqlite")


@pytest.mark.parametrize("data", [b"", b"not a database at all, but long enough to be looked at" * 99])
def test_a_file_that_is_no_database_is_an_error(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "e.sqlite").write_bytes(data)
    with pytest.raises(ModelError, match=r"e\.sqlite"):
        Lookup(tmp_path / "e.sqlite")


def test_a_damaged_database_is_an_error_and_no_crash(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    for at in range(4096, len(data), 4096):
        (tmp_path / "e.sqlite").write_bytes(data[:at] + b"\xff" * 2048 + data[at + 2048 :])
        with suppress(ModelError):  # what is damaged may be what nobody reads
            Lookup(tmp_path / "e.sqlite").find("extract an archive of files")


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE cues",
        "ALTER TABLE examples ADD COLUMN more TEXT",
        "DROP TABLE examples; CREATE VIEW examples AS SELECT 1 id",
        "DROP TABLE wordings; CREATE TABLE wordings(tool, words, command)",
    ],
)
def test_another_schema_is_refused_before_anything_is_asked_of_it(change: str, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "e.sqlite"
    other.write_bytes(path.read_bytes())
    with sqlite3.connect(other) as db:
        db.executescript(change)
    db.close()
    with pytest.raises(ModelError, match="another version"):
        Lookup(other)


def test_a_path_may_hold_what_a_uri_does_not(path: Path, tmp_path: Path) -> None:
    strange = tmp_path / "a?mode=rw#b %41 c.sqlite"
    strange.write_bytes(path.read_bytes())
    assert Lookup(strange).find("extract an archive")
    assert sorted(tmp_path.iterdir()) == [strange]


def test_context_text_has_one_line_for_each_example(lookup: Lookup) -> None:
    found = lookup.find("list the contents of an archive")
    lines = context_text(found).splitlines()
    assert len(lines) == len(found) > 1
    assert lines[0] == "- List the contents of an archive: `tar tzf archive.tar.gz`"
    assert context_text(()) == ""


QUESTION = Message("user", "how do I extract an archive?")


def test_what_was_looked_up_stands_before_the_last_question(lookup: Lookup) -> None:
    asked_before = (Message("system", "You are Ann."), Message("user", "hello"), Message("assistant", "Hi."))
    grounded = ground((*asked_before, QUESTION), lookup)
    assert grounded[:3] == asked_before and grounded[4:] == (QUESTION,)
    assert grounded[3].role == "context"
    assert grounded[3].content == context_text(look_up((*asked_before, QUESTION), lookup))
    TFM.render(grounded)


def test_a_chain_of_follow_ups_is_followed_back_to_its_question(lookup: Lookup) -> None:
    said = [QUESTION.content, "and how do I list its contents?", "thanks, and its size?"]
    messages: list[Message] = []
    for text in said:
        messages += [Message("user", text), Message("assistant", "`tar`")]
    (found,) = [m for m in ground(messages[:-1], lookup) if m.role == "context"]
    assert "tar" in found.content


@pytest.mark.parametrize("text", ["hello", "who are you?", "tell me a story", "what is your name", "I am Ann", "", "?"])
def test_other_talk_is_left_as_it_is(text: str, lookup: Lookup) -> None:
    messages = (Message("system", "You answer shell questions: ls -a lists files."), Message("user", text))
    assert ground(messages, lookup) == messages
    assert not is_shell_turn(messages, lookup)


def test_only_a_users_message_at_the_end_is_grounded(lookup: Lookup) -> None:
    answered = (QUESTION, Message("assistant", "`tar xzf archive.tar.gz`"))
    assert ground(answered, lookup) == answered
    assert ground((), lookup) == ()


def test_a_grounded_conversation_is_read_from_the_cache_and_gives_the_ids_of_a_cold_one(
    make_engine: "type[Engine]", lookup: Lookup
) -> None:
    """Three turns, each with its own examples: turn n + 1 begins with what turn n read and answered."""
    warm, params = make_engine(), SamplingParams(temperature=0.0, max_new_tokens=8)
    messages: tuple[Message, ...] = ()
    end_of_last = 0
    for text in (QUESTION.content, "hello", "and how do I list the files in a directory?"):
        messages = ground((*messages, Message("user", text)), lookup)
        cold = make_engine()
        *_, end = warm.chat(messages, params)
        *_, fresh = cold.chat(messages, params)
        assert end.prompt_ids == fresh.prompt_ids and end.ids == fresh.ids
        assert fresh.usage.cached_tokens == 0
        assert end.usage.cached_tokens >= end_of_last
        messages = (*messages, Message("assistant", "", end.ids))
        end_of_last = len(end.prompt_ids) + len(end.ids) - 1
    assert [m.role for m in messages].count("context") == 2


def test_tools_parts_and_kinds_of_commands() -> None:
    assert [tool_of(c) for c in ("sudo -E apt install x", "LANG=C ls", "/usr/bin/env", "", "git log")] == [
        "apt", "ls", "env", "", "git",
    ]  # fmt: skip
    assert token("apt-get") == "aptget"
    assert set(parts("tar xzf a.tgz")) >= {"flagx", "flagz", "flagf", "a", "tgz"}
    assert set(parts("ls -la --color")) == {"flagl", "flaga", "la", "color"}
    assert kind("tar xf a.tar") == kind("tar xf b.tar") != kind("tar tf a.tar")
    assert kind("ls -l -a x") == kind("ls -a -l y") != kind("ls -a")


# A Lookup that hypothesis may use: its tests take no fixtures of a module.
@pytest.fixture(scope="module", autouse=True)
def any_lookup(lookup: Lookup) -> None:
    global ANY
    ANY = lookup


ANY: Lookup


def test_the_look_up_imports_no_torch() -> None:
    code = "import sys, engine.lookup; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
