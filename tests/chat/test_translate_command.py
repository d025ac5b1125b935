"""`tfm translate`: lines in, translations out, and what it says when it cannot."""

import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from chat import lines, models
from chat.cli import run_app
from chat.lines import Line, open_lines
from engine.errors import UsageError
from weights.data.pairs import controls
from weights.data.vocabulary import train_tokenizer
from weights.models.checkpoint import build_model, save_translator
from weights.models.config import Seq2SeqConfig
from weights.models.translate import Options, Translator

ROOT = Path(__file__).parents[2]
TEXTS = ["The cat sleeps in the garden.", "Le chat dort dans le jardin.", "El gato duerme en el jardín."] * 4
SENTENCES = ["The cat sleeps.", "A dog.", "The garden of the cat is the garden of a dog, and of no other.", "Sleep!"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator with random weights: what it says means nothing, but each line becomes something else."""
    folder = tmp_path_factory.mktemp("translator")
    pieces = folder / "tokenizer.model"
    train_tokenizer(TEXTS, 380, pieces, threads=1, controls=controls(("fr", "es")))
    shape: dict[str, Any] = {"d_model": 32, "n_heads": 2, "n_kv_heads": 2, "head_dim": 16, "d_ff": 64}
    config = Seq2SeqConfig(380, n_encoder_layers=1, n_decoder_layers=1, max_positions=64, **shape)
    network = build_model(config)
    network.init_weights(torch.Generator().manual_seed(4))
    save_translator(folder / "model", network, pieces, ("fr", "es"), dtype=torch.float32)
    return folder / "model"


class Pipe:
    """A stdin that gives one chunk at each read, and may look around before it does."""

    closed = False

    def __init__(self, chunks: Sequence[bytes], before: Callable[[int], None] = lambda _: None) -> None:
        self.chunks, self.before, self.reads = [*chunks, b""], before, 0
        self.buffer = self

    def isatty(self) -> bool:
        return False

    def read1(self, _size: int) -> bytes:
        self.before(self.reads)
        self.reads += 1
        return self.chunks[self.reads - 1]


@pytest.fixture
def translate(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run the command; its exit code, stdout and stderr. stdin: bytes, or something like a Pipe."""

    def run(*words: str, stdin: Any = b"", to: str | None = "fr") -> tuple[int, str, str]:
        stream = io.TextIOWrapper(io.BytesIO(stdin)) if isinstance(stdin, bytes) else stdin
        monkeypatch.setattr(sys, "stdin", stream)
        language = ["--to", to] if to else []
        code = run_app(["translate", "-m", str(model), *language, *words])
        return code, *capsys.readouterr()

    return run


def encoded(texts: Sequence[str]) -> bytes:
    return "".join(text + "\n" for text in texts).encode()


def test_a_line_in_is_a_line_out_in_the_same_order(translate: Callable[..., Any], monkeypatch: Any) -> None:
    texts = [random.Random(n).choice(SENTENCES) for n in range(12)]
    code, out, err = translate(stdin=encoded(texts))
    assert (code, err) == (0, "")
    found = out.split("\n")
    assert found.pop() == "" and len(found) == len(texts)
    alone = {text: translate(text)[1] for text in SENTENCES}
    assert len(set(alone.values())) == len(SENTENCES)
    assert [line + "\n" for line in found] == [alone[text] for text in texts]
    monkeypatch.setattr(lines, "AT_ONCE", 5)
    assert translate(stdin=encoded(texts))[1] == out


def test_lines_that_wait_are_translated_together_and_none_waits_for_one_that_has_not_come(
    translate: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    written: list[str] = []
    real = Translator.translate

    def counted(self: Translator, texts: Sequence[str], *rest: Any, **more: Any) -> Any:
        groups.append(len(texts))
        return real(self, texts, *rest, **more)

    monkeypatch.setattr(Translator, "translate", counted)
    chunks = [b"The cat.\nA dog.\nSle", b"ep!\n", b"The gar", b"den."]
    translate(stdin=Pipe(chunks, lambda _: written.append(capsys.readouterr().out)))
    assert groups == [2, 1, 1]
    assert [text.count("\n") for text in written] == [0, 2, 1, 0, 0]


def test_a_translation_is_one_line_whatever_is_in_it(
    translate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = translate("one\ntwo")  # two lines of one argument
    assert (code, out.count("\n")) == (0, 2)
    monkeypatch.setattr("engine.tokenizer.SentencePieceTokenizer.decode", lambda *_: "a\r\nb\tc\x1b")
    assert translate("x")[1] == "a b\tc␛\n"
    assert translate("x", "--alternatives", "2")[1] == "a b c␛\n"  # the others are the same text


def test_arguments_come_before_files_and_stdin_is_left_alone(translate: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"A dog.\r\nSleep!")
    (tmp_path / "b").write_text("The cat sleeps.\n")
    stdin = Pipe([b"never read\n"])
    _, out, _ = translate("The", "cat sleeps.", "-f", str(tmp_path / "a"), "-f", str(tmp_path / "b"), stdin=stdin)
    assert stdin.reads == 0
    cat, dog, sleep, again = out.splitlines()
    assert cat == again != dog
    assert [dog + "\n", sleep + "\n"] == [translate("A dog.")[1], translate("Sleep!")[1]]


def test_empty_lines_stay_and_nothing_is_nothing(translate: Callable[..., Any]) -> None:
    assert translate(stdin=b"\n\nA dog.\n  \n")[1].split("\n")[:2] == ["", ""]
    assert translate(stdin=b"\nA dog.\n \n")[1].split("\n")[2:] == [" ", ""]
    assert translate(stdin=b"") == (0, "", "")


def test_a_beam_of_one_is_greedy_decoding(translate: Callable[..., Any], model: Path) -> None:
    for text in SENTENCES:
        beam, cold = (json.loads(translate(text, "--json", *how)[1]) for how in (["--beam", "1"], ["-t", "0"]))
        assert beam["translation"] == cold["translation"]
        assert beam["logprob"] == pytest.approx(cold["logprob"], abs=1e-4)


def test_the_fields_of_a_record(translate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = translate("--json", "--alternatives", "2", "--beam", "2", stdin=encoded([SENTENCES[0], ""]))
    first, empty = map(json.loads, out.splitlines())
    assert code == 0
    assert list(first) == ["text", "translation", "to", "logprob", "n_tokens", "n_parts", "alternatives"]
    assert (first["text"], first["to"], first["n_parts"]) == (SENTENCES[0], "fr", 1)
    assert first["translation"] + "\n" == translate("--beam", "3", SENTENCES[0])[1]
    assert first["n_tokens"] > 0 > first["logprob"]
    texts = [first["translation"], *(other["translation"] for other in first["alternatives"])]
    assert len(set(texts)) == len(texts) == 3
    assert translate("--alternatives", "2", "--beam", "2", SENTENCES[0])[1] == "\t".join(texts) + "\n"
    assert (empty["text"], empty["translation"], empty["n_parts"], empty["alternatives"]) == ("", "", 0, [])


def test_a_seed_draws_a_line_alike_wherever_it_stands(translate: Callable[..., Any]) -> None:
    drawn = ["-t", "1.5", "--top-p", "0.95", "--json"]
    _, out, _ = translate(*drawn, "--seed", "3", stdin=encoded(["A dog."] * 3))
    found = list(map(json.loads, out.splitlines()))
    assert [record["seed"] for record in found] == [3, 4, 5]
    assert len({record["translation"] for record in found}) == 3
    assert json.loads(translate(*drawn, "--seed", "5", "A dog.")[1])["translation"] == found[2]["translation"]
    alone = translate(*drawn, "--seed", "3", stdin=Pipe([b"A dog.\n"] * 3))[1]  # in groups of one
    assert [json.loads(line)["translation"] for line in alone.splitlines()] == [r["translation"] for r in found]
    assert json.loads(translate(*drawn, "A dog.")[1])["seed"] >= 0  # drawn, and told


@pytest.mark.parametrize("text", ["猫が寝ている。 The cat 🦊", "a\u2581b\u200b", "\x00", "x" * 300, "Ünïcödé \x07"])
def test_any_text_is_translated_on_one_line(translate: Callable[..., Any], text: str) -> None:
    code, out, err = translate(stdin=encoded([text, "A dog."]))
    assert (code, err, out.count("\n")) == (0, "", 2)


def test_a_text_beyond_the_context_is_split_and_joined(translate: Callable[..., Any]) -> None:
    record = json.loads(translate("--json", "--beam", "1", " ".join(["The cat sleeps in the garden."] * 12))[1])
    assert record["n_parts"] == 12


@pytest.mark.parametrize("words", [["--to", "de"], []])
def test_an_unknown_or_missing_language_is_told_with_those_there_are(
    translate: Callable[..., Any], words: list[str]
) -> None:
    stdin = Pipe([b"x\n"])
    code, out, err = translate(*words, to=None, stdin=stdin)
    assert (code, out, err.count("\n"), stdin.reads) == (2, "", 1, 0)
    assert "fr, es" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--beam", "0"], "--beam"), (["--beam", "9999"], "--beam"), (["--beam", "x"], "--beam"),
        (["--length-penalty", "-1"], "--length-penalty"), (["--alternatives", "-1"], "--alternatives"),
        (["-t", "1", "--alternatives", "1"], "--alternatives"), (["-t", "1", "--beam", "2"], "exclude"),
        (["--seed", "1"], "--seed"), (["--top-p", "2"], "--top-p"), (["-t", "-1"], "--temperature"),
        (["-t", "1", "--seed", "-1"], "--seed"), (["--threads", "0"], "--threads"), (["-f", "/no/such"], "/no/such"),
        (["-f", "."], "cannot be read"),
    ],
)  # fmt: skip
def test_flags_without_a_meaning_are_refused_in_one_sentence(
    translate: Callable[..., Any], words: list[str], said: str
) -> None:
    code, out, err = translate("x", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_directory_of_another_kind_says_what_it_holds_and_what_uses_it(
    translate: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    code, out, err = translate("x", "-m", str(tmp_path))
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "LlamaForCausalLM" in err and "`tfm run -m" in err
    (tmp_path / "config.json").write_text('{"architectures": ["Surprise"]}')
    assert "Surprise" in translate("x", "-m", str(tmp_path))[2]
    assert translate("x", "-m", str(tmp_path / "absent"))[0] == 3


def test_without_the_shipped_translator_it_says_how_to_get_one(
    translate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "shipped", dict)
    code, out, err = translate("x", "-m", "translator")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "The translator model is not here." in err and "`tfm train translator`" in err


def test_a_line_that_is_not_utf8_stays_empty_and_the_others_are_answered(
    translate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "AT_ONCE", 3)  # the last line is in another group
    data = b"A dog.\ncaf\xe9\nSleep!\n\xff\n"
    code, out, err = translate(stdin=data)
    assert code == 2
    assert out == translate("A dog.")[1] + "\n" + translate("Sleep!")[1] + "\n"
    assert err.count("\n") == 1 and "stdin, line 2, is not UTF-8 text: its byte 3" in err
    records = list(map(json.loads, translate("--json", stdin=data)[1].splitlines()))
    assert [record["translation"] is None for record in records] == [False, True, False, True]
    assert "line 4" in records[3]["error"]


def test_lines_before_a_failure_to_read_are_answered(translate: Callable[..., Any]) -> None:
    def fail(reads: int) -> None:
        if reads:
            raise OSError(5, "Input/output error")

    code, out, err = translate(stdin=Pipe([b"A dog.\n"], fail))
    assert (code, out) == (2, translate("A dog.")[1])
    assert "stdin cannot be read: Input/output error." in err


def test_lines_of_every_cut_of_a_stream_are_the_same() -> None:
    data = "één\n\ntwee\r\n drie".encode()
    wanted = [Line("één"), Line(""), Line("twee"), Line(" drie")]
    for size in range(1, len(data) + 1):
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
        with open_lines([], [], Pipe(chunks)) as groups:  # type: ignore[arg-type]
            assert [line for group in groups for line in group] == wanted
    with pytest.raises(UsageError, match="no text"), open_lines([], [], None):
        pass


def started(model: Path, *words: str) -> "subprocess.Popen[bytes]":
    """The command as a process of its own, with pipes."""
    command = [sys.executable, "-m", "chat", "translate", "-m", str(model), "--to", "fr", "--threads", "1", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )  # fmt: skip


def test_a_slow_pipe_is_answered_line_by_line_and_ctrl_c_keeps_what_was_said(
    model: Path, translate: Callable[..., Any]
) -> None:
    process = started(model)
    assert process.stdin and process.stdout and process.stderr
    for text in SENTENCES[:2]:
        process.stdin.write(encoded([text]))
        process.stdin.flush()
        assert process.stdout.readline().decode() == translate(text)[1]  # it would wait for ever
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_reader_that_goes_away_is_no_error(model: Path) -> None:
    process = started(model, "--beam", "1")
    assert process.stdout and process.stderr and process.stdin
    process.stdout.close()
    process.stdin.write(encoded(["A dog."] * 300))
    process.stdin.close()
    assert (process.stderr.read(), process.wait(timeout=60)) == (b"", 0)
    process.stderr.close()


def test_the_flags_of_the_search_reach_it(translate: Callable[..., Any], model: Path) -> None:
    translator = Translator.load(model)
    found = translator.translate([SENTENCES[2]], "es", Options(beam=3, alternatives=2, length_penalty=0.5))[0]
    words = ["--beam", "3", "--alternatives", "2", "--length-penalty", "0.5", "--json"]
    record = json.loads(translate(*words, SENTENCES[2], to="es")[1])
    assert [record["translation"], record["logprob"]] == [found.text, found.logprob]
    assert [tuple(other.values()) for other in record["alternatives"]] == list(found.alternatives)
