"""What `tfm history export` wrote, loaded into a chat: the same conversation, kept as one that came from a file."""

import json
from pathlib import Path

import pytest
from double import ScriptedEngine
from listing import Tfm, kept, told


def export(tfm: Tfm, form: str, file: Path) -> Path:
    code, out, _ = tfm("history", "export", "--format", form)
    assert code == 0
    file.write_text(out, encoding="utf-8")
    return file


@pytest.mark.parametrize("form", ["markdown", "sharegpt", "jsonl"])
def test_an_export_is_loaded_as_the_conversation_that_it_was(
    form: str, tfm: Tfm, scripted: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.answers = ["one", "## User\u2028x", "three"]
    tfm("chat", "-s", "Be good.", stdin="a\nb\n/regen\n")
    file = export(tfm, form, tmp_path / "export")
    before = kept()[0]
    tfm("history", "delete", "--all", "--yes")
    tfm("chat", stdin=f"/load {file}\n")
    (after,) = kept()
    assert told(after) == told(before) == [
        ("system", "Be good."), ("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "three"),
    ]  # fmt: skip
    texts = [message.text for message in after.messages]
    assert ("## User\u2028x" in texts) is (form == "jsonl"), "the other answers are in the whole tree alone"
    assert "  from a file\n" in tfm("history", "show")[1]


def test_a_loaded_conversation_is_taken_up_again_and_read_as_text(
    tfm: Tfm, scripted: ScriptedEngine, tmp_path: Path
) -> None:
    (tmp_path / "talk").write_text("## User\n\na\n\n## Assistant (cut)\n\nbe\n", encoding="utf-8")
    tfm("chat", stdin=f"/load {tmp_path}/talk\n")
    scripted.answers = ["d", "e"]
    tfm("chat", "-c", stdin="/continue\n/good\nnext\n")
    assert [m.content for m in scripted.calls[-1].prompt] == ["a", "bed", "next"]
    judged = json.loads(tfm("history", "export", "--format", "sft")[1])
    assert [m["content"] for m in judged["messages"]] == ["a", "bed"]
    (conversation,) = kept()
    assert told(conversation) == [("user", "a"), ("assistant", "bed"), ("user", "next"), ("assistant", "e")]
