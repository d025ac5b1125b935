"""`make bench`: what the README says about speed and memory, measured here and now.

Peers run interleaved in the same process group and the same run; medians and ratios are what to quote. Other work
on the machine spoils it: barriers between threads wait for whoever lost the processor.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "weights" / "default"
TOKENS = 128
PROMPT_TOKENS = 128


def main() -> None:
    """Run the parts that are named (all by default) and print one table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}")
    parser.add_argument("-n", "--rounds", type=int, default=5)
    parser.add_argument("-m", "--model", type=Path, default=MODEL)
    options = parser.parse_args()
    print(f"{processor()}; {os.cpu_count()} processors; load {os.getloadavg()[0]:.2f}", file=sys.stderr)
    for name in options.parts or PARTS:
        print(f"\n## {name}")
        PARTS[name](options.model, options.rounds)


def processor() -> str:
    """The processor and the torch that the numbers belong to."""
    import torch

    from engine.hardware import processor_name

    return f"{processor_name()}; torch {torch.__version__}, {torch.get_num_threads()} threads"


def show(name: str, values: list[float], unit: str) -> None:
    """One row: median, and the range in brackets."""
    print(
        f"{name:44} {statistics.median(values):9.2f} {unit}  ({min(values):.2f} - {max(values):.2f}, n={len(values)})"
    )


def start(model: Path, rounds: int) -> None:
    """Seconds of whole processes: the help, one token of the model, and torch's import alone for comparison."""
    commands = {
        "tfm --help": [sys.executable, "-m", "chat", "--help"],
        "tfm run, process start to first token": [
            sys.executable, "-m", "chat", "run", "-m", str(model), "-n", "1", "hello",
        ],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            begin = time.perf_counter()
            subprocess.run(command, check=True, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True)
            seconds[name].append(time.perf_counter() - begin)
    for name, values in seconds.items():
        show(name, values[1:], "s")


def decode(model: Path, rounds: int) -> None:
    """Decode tokens/s of Engine.generate and of transformers' generate, on the same weights, in turn."""
    import torch
    from transformers import LlamaForCausalLM

    from engine import Finish, SamplingParams, load_engine

    rates: dict[str, list[float]] = {}
    prompt = [1, *range(100, 100 + PROMPT_TOKENS - 1)]
    params = SamplingParams(greedy=True, max_new_tokens=TOKENS, min_new_tokens=TOKENS)

    def ours(dtype: str) -> Callable[[], float]:
        engine = load_engine(model, dtype=dtype)

        def run() -> float:
            finish = next(e for e in engine.generate(prompt, params) if isinstance(e, Finish))
            return (TOKENS - 1) / finish.timings.decode

        return run

    def theirs(dtype: torch.dtype) -> Callable[[], float]:
        peer = LlamaForCausalLM.from_pretrained(model, dtype=dtype).eval()
        ids = torch.tensor([prompt])

        def seconds(count: int) -> float:
            begin = time.perf_counter()
            with torch.inference_mode():
                peer.generate(ids, do_sample=False, max_new_tokens=count, min_new_tokens=count, repetition_penalty=1.0)
            return time.perf_counter() - begin

        return lambda: (TOKENS - 1) / (seconds(TOKENS) - seconds(1))

    arms = {
        "tfm float32": ours("float32"), "transformers float32": theirs(torch.float32),
        "tfm bfloat16": ours("bfloat16"), "transformers bfloat16": theirs(torch.bfloat16),
    }  # fmt: skip
    for round_number in range(rounds + 1):
        for name, arm in arms.items():
            rate = arm()
            if round_number:
                rates.setdefault(name, []).append(rate)
    for name, values in rates.items():
        show(name, values, "tokens/s")
    for kind in ("float32", "bfloat16"):
        pairs = zip(rates[f"tfm {kind}"], rates[f"transformers {kind}"], strict=True)
        show(f"ratio tfm / transformers, {kind}", [a / b for a, b in pairs], "x")


def turns(model: Path, rounds: int) -> None:
    """What a second turn of a chat costs: tokens read again, and seconds to the first token."""
    del rounds
    from engine import Finish, Message, SamplingParams, load_engine

    engine = load_engine(model)
    messages: list[Message] = []
    for text in ("hello", "how do I list files by size?", "thanks"):
        messages.append(Message("user", text))
        finish = next(
            e for e in engine.chat(messages, SamplingParams(greedy=True, max_new_tokens=40)) if isinstance(e, Finish)
        )
        messages.append(Message("assistant", "", finish.ids))
        used = finish.usage
        new = used.prompt_tokens - used.cached_tokens
        first = finish.timings.first_token * 1000
        print(f"{text:34} cached {used.cached_tokens:4}  new {new:4}  first token {first:7.1f} ms")


def load(model: Path, rounds: int) -> None:
    """Peak memory of loading a random checkpoint of about 540 MB, above an interpreter with torch, over its weights."""
    del model
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, "-c", WRITE_CHECKPOINT, directory], check=True, cwd=ROOT)
        for stored, asked in (("bfloat16", "bfloat16"), ("bfloat16", "float32")):
            ratios = []
            for _ in range(max(1, rounds // 2)):
                told = subprocess.run(
                    [sys.executable, "-c", MEASURE_LOAD, directory, asked],
                    check=True,
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                )
                ratios.append(json.loads(told.stdout))
            show(f"peak of loading {stored} as {asked}, over the weights", ratios, "x")


WRITE_CHECKPOINT = """
import sys, torch
from pathlib import Path
from engine.checkpoint import save_checkpoint
from engine.config import ModelConfig
from engine.decoder import DecoderLM
config = ModelConfig(
    vocab_size=32000, d_model=1024, n_layers=18, n_heads=16, n_kv_heads=4, head_dim=64, d_ff=3072, max_positions=2048
)
model = DecoderLM(config)
model.init_weights(torch.Generator().manual_seed(0))
save_checkpoint(Path(sys.argv[1]) / "m", model)
"""
MEASURE_LOAD = """
import sys, json, torch
from pathlib import Path
from engine.checkpoint import load_config, load_model

def peak():  # VmHWM, not ru_maxrss: that one is inherited from the process that started this one
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) * 1024

before = peak()
d = Path(sys.argv[1]) / "m"
model = load_model(d, load_config(d), getattr(torch, sys.argv[2]), torch.device("cpu"))
weights = sum(p.nbytes for p in model.parameters())
print(json.dumps((peak() - before) / weights))
"""
PARTS: dict[str, Callable[[Path, int], None]] = {"start": start, "decode": decode, "turns": turns, "load": load}

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
