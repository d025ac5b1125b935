"""The shipped chat model, exported and back, says the same: as a GGUF file, and in transformers."""

from pathlib import Path

import pytest
import torch

from chat.cli import run_app
from engine.api import Engine, load_engine
from engine.lookup import FILE as EXAMPLES
from engine.params import SamplingParams
from engine.template import Message

SHIPPED = Path(__file__).parents[2] / "weights" / "default"
TALKS = (
    [Message("user", "Who are you?")],
    [Message("system", "You are a pirate called Ann."), Message("user", "What is your name?")],
    [Message("user", "Hello"), Message("assistant", "Hello!"), Message("user", "How do I list files? 你好 ▁")],
)
GROUNDED = [Message("context", "Lists files: `ls`"), Message("user", "How do I list files?")]
GREEDY = SamplingParams(greedy=True, max_new_tokens=48, repetition_penalty=1.0)


@pytest.fixture(scope="module")
def here() -> Engine:
    return load_engine(SHIPPED, dtype="float32")


def answers(engine: Engine) -> list[tuple[int, ...]]:
    return [list(engine.chat(talk, GREEDY))[-1].ids for talk in TALKS]


def test_a_gguf_file_of_it_says_the_same(here: Engine, tmp_path: Path) -> None:
    assert run_app(["convert", "default", str(tmp_path / "m.gguf"), "--quant", "f32"]) == 0
    there = load_engine(tmp_path / "m.gguf", dtype="float32")
    assert there.template == here.template and there.config == here.config
    assert [there.prompt_ids(talk) for talk in TALKS] == [here.prompt_ids(talk) for talk in TALKS]
    assert answers(there) == answers(here)


@pytest.mark.parametrize("through", ["directory", "gguf"])
def test_transformers_says_the_same(through: str, here: Engine, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = "default"
    if through == "gguf":
        model = str(tmp_path / "m.gguf")
        assert run_app(["convert", "default", model]) == 0
    assert run_app(["convert", model, str(tmp_path / "out")]) == 0
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    for talk, answer in zip(TALKS, answers(here), strict=True):
        messages = [{"role": m.role, "content": m.content} for m in talk]
        inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")["input_ids"]
        assert inputs[0].tolist() == here.prompt_ids(talk)
        out = theirs.generate(
            inputs, attention_mask=torch.ones_like(inputs), do_sample=False, max_new_tokens=48, pad_token_id=0,
            repetition_penalty=1.0,
        )[0, inputs.shape[1] :]  # fmt: skip
        assert tuple(out.tolist()[: len(answer)]) == answer and len(answer) > 4
        assert len(out) <= len(answer) + 1  # the end token, which is no part of an answer here


def test_a_directory_of_it_can_be_grounded_as_it_is(here: Engine, tmp_path: Path) -> None:
    assert run_app(["convert", "default", str(tmp_path / "m")]) == 0
    there = load_engine(tmp_path / "m")
    assert there.template is not None and "context" in there.template.roles
    assert there.prompt_ids(GROUNDED) == here.prompt_ids(GROUNDED)
    assert (tmp_path / "m" / EXAMPLES).read_bytes() == (SHIPPED / EXAMPLES).read_bytes()
