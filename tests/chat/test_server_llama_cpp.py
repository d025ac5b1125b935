"""`--server` against llama-cpp-python's own server, where that is installed, with the shipped model as a GGUF file."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.cli import run_app

pytest.importorskip("llama_cpp.server.app")
NO_PENALTY = ("--repetition-penalty", "1")  # this model recommends one, and a greedy answer there has none
PROMPTS = ("Who are you?", "What is the capital of France?", "How do I list files by size?")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "shipped.gguf"
    assert run_app(["convert", "default", str(path), "--quant", "f32"]) == 0
    return path


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    """A server on a free port, once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    flags = [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--type_k",
        "0",
        "--type_v",
        "0",
        "--n_ctx",
        "1024",
        "--n_threads",
        "1",
        "--model_alias",
        "shipped",
    ]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), *flags]
    log = model.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        while True:
            assert process.poll() is None, log.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_server_gives_the_greedy_answer_of_this_engine(url: str, model: Path, prompt: str, capsys) -> None:
    common = ["run", "--greedy", "-n", "40", "-s", "You are a helpful assistant.", prompt]
    assert run_app([*common, "-m", str(model), "--dtype", "float32", "--no-ground", *NO_PENALTY]) == 0
    ours = capsys.readouterr().out
    assert run_app([*common, "--server", url, "-m", "shipped"]) == 0
    assert capsys.readouterr().out == ours


def test_a_prompt_that_is_too_long_for_it_is_told(url: str, capsys) -> None:
    assert run_app(["run", "--server", url, "word " * 3000]) in (3, 4)
    assert capsys.readouterr().err.count("\n") == 1
