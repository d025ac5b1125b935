"""`--server`: the same commands, with a model that an OpenAI-compatible server runs."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import StubServer, answer, event, serving

from chat.cli import run_app
from chat.remote.address import key_for, parse
from chat.remote.engine import as_sent
from chat.remote.replies import piece_of
from engine.errors import UsageError
from engine.template import Message


@pytest.fixture
def server() -> Iterator[StubServer]:
    with serving() as stub:
        yield stub


def chat(monkeypatch: pytest.MonkeyPatch, server: StubServer, text: str, *flags: str) -> int:
    """A conversation through a pipe."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    return run_app(["chat", "--server", server.url, *flags])


def record(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_an_answer_streams_to_stdout_and_only_the_answer(server: StubServer, capsys) -> None:
    assert run_app(["run", "--server", server.url, "Hi"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("Hello there\n", "")
    assert server.sent["messages"] == [{"role": "user", "content": "Hi"}]
    assert (server.sent["model"], server.sent["stream"], server.sent["max_tokens"]) == ("one", True, 256)


def test_what_nobody_set_is_not_sent_and_what_was_set_is(server: StubServer, capsys) -> None:
    run_app(["run", "--server", server.url, "Hi"])
    assert not {"temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias"} & set(server.sent)
    flags = ["-t", "0.5", "--top-p", "0.9", "--presence-penalty", "1", "--frequency-penalty", "0.5"]
    run_app(["run", "--server", server.url, *flags, "--logit-bias", "7=-1", "--seed", "5", "-n", "9", "Hi"])
    wanted = {"temperature": 0.5, "top_p": 0.9, "presence_penalty": 1, "frequency_penalty": 0.5, "seed": 5}
    assert server.sent | wanted | {"logit_bias": {"7": -1}, "max_tokens": 9} == server.sent
    run_app(["run", "--server", server.url, "--greedy", "Hi"])
    assert server.sent["temperature"] == 0


def test_what_the_api_has_no_word_for_is_said_and_not_sent(server: StubServer, capsys) -> None:
    assert (
        run_app(["run", "--server", server.url, "--min-p", "0.1", "--repetition-penalty", "1.2", "--json", "Hi"]) == 0
    )
    captured = capsys.readouterr()
    assert captured.err == ("Left out, because the OpenAI API has no word for it: --min-p and --repetition-penalty.\n")
    assert not {"min_p", "repetition_penalty"} & (set(server.sent) | set(json.loads(captured.out)["sampling"]))


def test_what_the_server_decides_is_said(server: StubServer, capsys) -> None:
    assert run_app(["run", "--server", server.url, "--threads", "2", "--context", "99", "Hi"]) == 0
    assert capsys.readouterr().err == (
        "The server decides on what this sets, so it has no effect: --threads, --context.\n"
    )


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--logprobs", "2", "--json"], "--logprobs has no place with --server. A server tells text and no tokens."),
        (["--prefill", "Well"], "--prefill has no place with --server."),
        (["--logit-bias", "the=1"], "a server does not tell which token 'the' is. Give its id."),
        (["--ground"], "--ground can do nothing here: the model is on a server"),
    ],
)
def test_what_needs_tokens_is_refused_in_one_sentence(server: StubServer, capsys, flags, told) -> None:
    assert run_app(["run", "--server", server.url, *flags, "Hi"]) == (3 if "--ground" in flags else 2)
    assert told in capsys.readouterr().err
    assert not [body for *_, body in server.requests if body]


def test_the_record_says_who_answered_and_how_it_ended(server: StubServer, capsys) -> None:
    server.reply = answer("Hello", " there", end="length")
    assert run_app(["run", "--server", server.url, "--json", "-n", "2", "-t", "0.3", "--seed", "4", "Hi"]) == 0
    told = record(capsys)
    assert (told["text"], told["model"], told["server"]) == ("Hello there", "one", f"{server.url}/v1")
    assert told["sampling"] == {"temperature": 0.3, "stop": [], "max_new_tokens": 2, "seed": 4}
    assert told["finish"] == {"reason": "length", "stop": None}
    assert told["usage"] == {"prompt_tokens": 7, "cached_tokens": 3, "completion_tokens": 2, "shifted_tokens": 0}


def test_an_answer_that_ends_before_its_limit_ended_at_the_context(server: StubServer, capsys) -> None:
    server.reply = answer("Hello", end="length")
    run_app(["run", "--server", server.url, "--json", "-n", "50", "Hi"])
    assert record(capsys)["finish"]["reason"] == "context"


def test_a_stop_text_ends_the_answer_here_and_the_server_is_left(server: StubServer, capsys) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield event(content="one two ")

    server.reply = endless
    assert run_app(["run", "--server", server.url, "--json", "--stop", "e t", "Hi"]) == 0
    told = record(capsys)
    assert (told["text"], told["finish"]) == ("on", {"reason": "stop", "stop": "e t"})
    assert "stop" not in server.sent
    assert server.left.wait(10)


def test_counts_that_a_server_does_not_tell_are_not_made_up(server: StubServer, capsys) -> None:
    server.reply = answer("a", "b", "c", usage=None)
    run_app(["run", "--server", server.url, "--stats", "Hi"])
    assert "the server counts no tokens; the answer came in 3 pieces" in capsys.readouterr().err
    server.reply = answer("a", "b")
    run_app(["run", "--server", server.url, "--stats", "Hi"])
    assert "prompt 4 new + 3 cached tokens" in capsys.readouterr().err


def test_a_raw_text_is_continued(server: StubServer, capsys) -> None:
    server.reply = [b'data: {"choices": [{"text": " a time", "finish_reason": "stop"}]}\n\n', b"data: [DONE]\n\n"]
    assert run_app(["run", "--server", server.url, "--raw", "Once upon"]) == 0
    assert capsys.readouterr().out == " a time\n"
    assert server.requests[-1][1] == "/v1/completions"
    assert server.sent["prompt"] == "Once upon"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "content"])
def test_thoughts_are_no_part_of_the_answer_however_they_come(server: StubServer, capsys, field: str) -> None:
    thought = "<think>\nhm\n</think>\n\n" if field == "content" else "hm"
    server.reply = [event(**{field: thought}), *answer("Yes.")]
    run_app(["run", "--server", server.url, "--json", "Hi"])
    told = record(capsys)
    assert (told["text"], told["thinking"]) == ("Yes.", "hm")


def test_what_a_server_sends_is_harmless_on_a_terminal_and_in_the_store(server: StubServer, capsys) -> None:
    server.reply = answer("a\x1b]0;title\x07\ud83d", "\udc00b")
    assert run_app(["run", "--server", server.url, "Hi"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\ud83d" not in out
    assert run_app(["run", "--server", server.url, "--continue", "Hi"]) == 0
    assert server.sent["messages"][1]["role"] == "assistant"


def test_many_prompts_go_one_after_the_other(server: StubServer, capsys, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\ntwo\n")
    assert run_app(["run", "--server", server.url, "--prompts", str(tmp_path / "p.txt"), "--json"]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == ["Hello there"] * 2


@pytest.mark.parametrize(
    ("wanted", "model"), [(None, "alpha-7b"), ("beta", "Beta"), ("alpha-7b", "alpha-7b"), ("13", "alpha-13b")]
)
def test_m_chooses_among_the_models_of_the_server(capsys, wanted: str | None, model: str) -> None:
    with serving("alpha-7b", "alpha-13b", "Beta") as server:
        assert run_app(["run", "--server", server.url, *(["-m", wanted] if wanted else []), "Hi"]) == 0
        assert server.sent["model"] == model
    first = "alpha-7b answers, the first of 3 models there; -m chooses: alpha-7b, alpha-13b, Beta.\n"
    assert capsys.readouterr().err == ("" if wanted else first)


@pytest.mark.parametrize(
    ("wanted", "told"), [("gamma", "has no model 'gamma'. It has alpha-7b, alpha-13b."), ("alpha", "a part of several")]
)
def test_a_wrong_model_is_told_with_those_that_are_there(capsys, wanted: str, told: str) -> None:
    with serving("alpha-7b", "alpha-13b") as server:
        assert run_app(["run", "--server", server.url, "-m", wanted, "Hi"]) == 3
    assert told in capsys.readouterr().err


def test_a_conversation_is_sent_whole_and_kept(server: StubServer, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chat(monkeypatch, server, "Hi\nAnd?\n", "-s", "Be brief.") == 0
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello there"}]
    assert server.sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        *said,
        {"role": "user", "content": "And?"},
    ]
    monkeypatch.setenv("TFM_SERVER", "127.0.0.1:9")  # a session stays where it was
    assert run_app(["run", "--continue", "More"]) == 0
    assert [m["content"] for m in server.sent["messages"]][-4:] == ["Hello there", "And?", "Hello there", "More"]
    assert capsys.readouterr().out == "Hello there\n" * 3


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/continue", "/continue cannot be done with a server"),
        ("/compare temperature=1 temperature=2", "/compare cannot be done with a server"),
        ("/context", "tells no tokens"),
        ("/show prompt", "/show prompt cannot be done with a server"),
    ],
)
def test_commands_that_need_tokens_say_so_and_change_nothing(
    server: StubServer, capsys, monkeypatch, line, told
) -> None:
    server.reply = answer("Hello", end="length")
    assert chat(monkeypatch, server, f"Hi\n{line}\nAnd?\n", "-n", "2") == 2
    assert told in capsys.readouterr().err
    assert [m["content"] for m in server.sent["messages"]] == ["Hi", "Hello", "And?"]


def test_the_other_commands_work(server: StubServer, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chat(monkeypatch, server, "Hi\n/regen\n/show\n/stats\n/sources\n/set temperature 0.2\nAnd?\n") == 0
    assert [body["messages"][-1]["content"] for *_, body in server.requests if body] == ["Hi", "Hi", "And?"]
    assert server.sent["temperature"] == 0.2
    err = capsys.readouterr().err
    assert f"model one, at {server.url}/v1" in err and "kept warm" not in err
    assert "Nothing was looked up: the model is on a server" in err


def test_a_stored_answer_of_a_server_is_told_not_to_be_replayable(server: StubServer, capsys, tmp_path: Path) -> None:
    run_app(["run", "--server", server.url, "--json", "Hi"])
    (tmp_path / "r.json").write_text(capsys.readouterr().out)
    assert run_app(["replay", str(tmp_path / "r.json")]) == 0
    assert "a server made it, and tells no tokens" in capsys.readouterr().out


def test_the_key_goes_to_the_server_and_nowhere_else(server: StubServer, capsys, monkeypatch) -> None:
    monkeypatch.setenv("TFM_SERVER_KEY", "secret-1")
    assert run_app(["run", "--server", server.url, "--json", "Hi"]) == 0
    assert [headers["Authorization"] for _, _, headers, _ in server.requests] == ["Bearer secret-1"] * 2
    assert run_app(["config", "show", "--json"]) == 0
    assert run_app(["history", "export", record_id(capsys)]) == 0
    assert "secret-1" not in "".join(capsys.readouterr())


def record_id(capsys: pytest.CaptureFixture[str]) -> str:
    """The session of the record on stdout, which holds no key."""
    out = capsys.readouterr().out
    assert "secret-1" not in out
    return json.loads(out.splitlines()[0])["session"]


def test_keys_are_for_places_where_they_belong() -> None:
    both = {"OPENAI_API_KEY": "theirs", "TFM_SERVER_KEY": "ours"}
    theirs = {"OPENAI_API_KEY": "theirs"}
    assert key_for(parse("http://example.com"), both) == "ours"
    assert key_for(parse("http://example.com"), theirs) == ""  # anyone on the way could read it
    assert key_for(parse("https://example.com"), theirs) == key_for(parse("http://localhost:1"), theirs) == "theirs"
    with pytest.raises(UsageError) as error:
        key_for(parse("localhost"), {"TFM_SERVER_KEY": "a\nb: c"})
    assert str(error.value) == "TFM_SERVER_KEY holds characters that no key has."


@pytest.mark.parametrize(
    ("url", "means"),
    [
        ("localhost:8080", "http://localhost:8080/v1"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1"),
        ("https://host.example/v1", "https://host.example:443/v1"),
        ("http://host/api", "http://host:80/api/v1"),
        ("http://[::1]:9", "http://[::1]:9/v1"),
    ],
)
def test_urls_as_people_write_them(url: str, means: str) -> None:
    assert str(parse(url)) == means


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "http://",
        "http://host:port",
        "http://host:99999",
        "http://a b",
        "http://h/?q",
        "http://[::1",
        "http://h/a\nb",
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url: str, capsys) -> None:
    assert run_app(["run", "--server", url, "Hi"]) == 2
    assert capsys.readouterr().err.startswith("tfm: --server is no URL")


def test_a_secret_in_a_url_is_refused_and_not_repeated(capsys) -> None:
    assert run_app(["run", "--server", "http://me:hidden@host", "Hi"]) == 2
    err = capsys.readouterr().err
    assert "name or password" in err and "hidden" not in err


def test_offline_only_this_machine_may_be_the_server(server: StubServer, capsys, monkeypatch) -> None:
    assert run_app(["run", "--offline", "--server", "http://192.0.2.1", "Hi"]) == 2
    assert (
        capsys.readouterr().err == "tfm: --offline forbids the network, and 192.0.2.1 (--server) is another machine.\n"
    )
    monkeypatch.setenv("TFM_OFFLINE", "1")
    monkeypatch.setenv("TFM_SERVER", "http://192.0.2.1")
    assert run_app(["chat"]) == 2
    assert "TFM_OFFLINE forbids the network, and 192.0.2.1 (TFM_SERVER)" in capsys.readouterr().err
    monkeypatch.setenv("TFM_SERVER", server.url)
    assert run_app(["run", "Hi"]) == 0


def test_what_is_sent_holds_no_thoughts_and_what_was_looked_up_once() -> None:
    said = [Message("context", "Notes."), Message("user", "Q"), Message("assistant", "<think>\nhm\n</think>\n\nA")]
    assert as_sent(said) == [{"role": "user", "content": "Notes.\n\nQ"}, {"role": "assistant", "content": "A"}]


def test_half_characters_become_whole_ones() -> None:
    piece = piece_of(b'{"choices": [{"delta": {"content": "\\ud83d\\ude00 \\ud83d"}}]}')
    assert piece.text == "\U0001f600 \ufffd"


def test_offline_may_stand_in_the_settings_file(capsys, home: Path) -> None:
    file = home / "config" / "tfm" / "settings.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[model]\noffline = true\n")
    assert run_app(["models", "pull", "pypi:anything"]) == 2
    assert capsys.readouterr().err == (
        f"tfm: {file} [model] offline forbids the network, and `tfm models pull` needs it.\n"
    )
