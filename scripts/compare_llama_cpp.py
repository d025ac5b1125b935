"""This engine and llama.cpp on the same GGUF files: those written here, and those that llama.cpp writes.

    python scripts/compare_llama_cpp.py             needs llama-cpp-python; no network. Ends with 1 when they differ
    python scripts/compare_llama_cpp.py --goldens   rewrites tests/goldens/gguf besides
    python scripts/compare_llama_cpp.py --speed     measures decoding besides

llama.cpp rounds activations to 8 bits before it multiplies them with a quantised matrix, and this engine does not: so
a quantised file is compared with what llama.cpp computes for the same file after it has dequantised it to F32 itself.
Then the ids are equal. What it computes for the quantised file itself is shown beside it ("as it runs").
"""

import argparse
import ctypes
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import llama_cpp
import numpy as np
import torch
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from numpy.typing import NDArray

from engine.api import Engine, load_engine
from engine.cache import KVCache
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.gguf_writing import QUANTS, Companions, write_gguf
from engine.sentencepiece_format import Kind, Piece, write_piece_model
from engine.source import open_source
from engine.template import Message
from engine.tokenizer import SentencePieceTokenizer

ROOT = Path(__file__).resolve().parent.parent
GOLDENS = ROOT / "tests" / "goldens" / "gguf"
SHIPPED = ROOT / "weights" / "default"
TOKENS, NEAR = 64, 1e-3
# llama.cpp's numbers for what its tool `llama-quantize` calls by these names.
TYPES = {
    "Q8_0": 7, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13,
    "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
}  # fmt: skip
ALL_F32 = 0
TEXTS = (
    "", " ", "Hello there", "  two  spaces ", "a\n\n\nb\t\tc\r\n", "Crème brûlée, naïve", "你好，世界 😀‍👧",
    "Привет, мир", "مرحبا ﬁ ２", "שלום", "हिन्दी", "x" * 300, " " * 64, "1234567890 3.14", "don't I'LL we've",
    "½ ㎏ \u00a0\u3000", "\n", "\x01\x7f\u200b\ufeff", "a+b=c; $x <= ~y^2", "<0x41> [PAD3]",
)  # fmt: skip
PROMPTS = ("Who are you?", "The theatre 你好", "find . -size", "Once upon a time there was a")
TALKS = (
    [Message("user", "Who are you?")],
    [Message("system", "You are a pirate."), Message("user", "  Where do I find\nfiles larger than 100 MB? ")],
    [Message("user", "Hello"), Message("assistant", "Hello! How are you?"), Message("user", "Fine. 你好 😀")],
)


class Peer:
    """llama.cpp with one file, on one thread, its cache in float32 as ours is."""

    def __init__(self, path: Path, context: int = 192) -> None:
        self.llama = llama_cpp.Llama(
            str(path), n_ctx=context, n_batch=192, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False,
            type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32, flash_attn=False,
        )  # fmt: skip

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """All positions: T V."""
        self.llama.reset()
        self.llama.eval(list(ids))
        return np.array(self.llama.scores[: len(ids)])

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        self.llama.reset()
        self.llama.eval(list(prompt))
        out: list[int] = []
        while len(out) < count:
            out.append(int(self.llama.scores[self.llama.n_tokens - 1].argmax()))
            self.llama.eval(out[-1:])
        return out

    def ids(self, text: str) -> list[int]:
        return list(self.llama.tokenize(text.encode(), add_bos=False, special=False)) if text else []

    def prompt(self, talk: Sequence[Message]) -> list[int]:
        """A conversation through the template in the file, which its own Jinja renders."""
        told = self.llama.metadata
        formatter = Jinja2ChatFormatter(told["tokenizer.chat_template"], eos_token="", bos_token="")
        text = formatter(messages=[{"role": m.role, "content": m.content} for m in talk]).prompt  # type: ignore[misc]
        return list(self.llama.tokenize(text.encode(), add_bos=False, special=True))


def greedy(engine: Engine, prompt: Sequence[int], count: int) -> list[int]:
    """The best token of all, again and again."""
    cache = KVCache(engine.config, dtype=engine.model.embedding.weight.dtype)
    out: list[int] = []
    step = list(prompt)
    with torch.inference_mode():
        while len(out) < count:
            step = [int(engine.model(torch.tensor([step]), cache, last_only=True)[0, -1].argmax())]
            out += step
    return out


def quantized(source: Path, target: Path, kind: int, *, pure: bool = False) -> Path:
    """A file made of another by llama.cpp. pure: all matrices of one type, where their rows are long enough."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.allow_requantize, params.pure = kind, 1, True, pure
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), params):
        raise SystemExit(f"llama.cpp does not make {target.name}.")
    return target


@dataclass
class Result:
    """How two engines agreed on a file. same: ids before the first that differs. difference: the largest of logits."""

    same: int
    of: int
    difference: float
    as_it_runs: str

    @property
    def agree(self) -> bool:
        return self.same == self.of and self.difference < NEAR


def compare(path: Path, prompts: Sequence[Sequence[int]], directory: Path) -> Result:
    """One file here in float32, and there after llama.cpp has dequantised it."""
    ours = load_engine(path, dtype="float32", threads=1)
    exact = Peer(quantized(path, directory / "exact.gguf", ALL_F32))
    runs = Peer(path)
    same, difference, equal, apart = 0, 0.0, 0, 0.0
    for prompt in prompts:
        here, there, running = (e(prompt) for e in (lambda p: greedy(ours, p, TOKENS), *_greedy_of(exact, runs)))
        same += _alike(here, there)
        equal += _alike(here, running)
        logits = ours.logits(prompt).numpy()
        difference = max(difference, float(np.abs(logits - exact.logits(prompt)).max()))
        apart = max(apart, float(np.abs(logits - runs.logits(prompt)).max()))
    return Result(same, TOKENS * len(prompts), difference, f"{equal} ids alike, logits within {apart:.2g}")


def _greedy_of(*peers: Peer) -> Iterator:  # type: ignore[type-arg]
    for peer in peers:
        yield lambda prompt, peer=peer: peer.greedy(prompt, TOKENS)


def _alike(a: Sequence[int], b: Sequence[int]) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a))


def golden_model() -> tuple[DecoderLM, SentencePieceTokenizer]:
    """Small enough for the repository; two matrices of each layer have rows of 256, which K-quants need."""
    config = ModelConfig(
        vocab_size=272, d_model=64, n_layers=1, n_heads=8, n_kv_heads=2, head_dim=32, d_ff=256, max_positions=128,
        tie_embeddings=False, rope_theta=500.0,
    )  # fmt: skip
    pieces = [Piece("<unk>", 0.0, Kind.UNKNOWN), *(Piece(name, 0.0, Kind.CONTROL) for name in ("<s>", "</s>"))]
    pieces += [Piece(f"<0x{byte:02X}>", 0.0, Kind.BYTE) for byte in range(256)]
    words = ("▁", "h", "e", "t", "a", "th", "the", "▁the")
    pieces += [Piece(text, -float(n), Kind.NORMAL) for n, text in enumerate(words)]
    proto = write_piece_model(pieces, {"unk": 0, "bos": 1, "eos": 2, "pad": None}, space_prefix=False)
    return random_model(config), SentencePieceTokenizer(Path("golden"), proto=proto)


@torch.no_grad()
def random_model(config: ModelConfig) -> DecoderLM:
    """Random weights, so large that logits differ by whole numbers and not by roundings."""
    model, generator = DecoderLM(config), torch.Generator().manual_seed(7)
    for name, p in model.named_parameters():
        scale = 0.2 if p.dim() == 1 else 0.5 if "embedding" in name else 2.0 / p.shape[-1] ** 0.5
        p.copy_(scale * torch.randn(p.shape, generator=generator) + (1 if p.dim() == 1 else 0))
    return model.eval().requires_grad_(False)


def untied() -> tuple[DecoderLM, SentencePieceTokenizer]:
    """Grouped heads, a head of its own, wide heads; with the shipped tokenizer."""
    config = ModelConfig(
        vocab_size=8256, d_model=96, n_layers=2, n_heads=6, n_kv_heads=2, head_dim=32, d_ff=160, max_positions=512,
        tie_embeddings=False, eos_ids=(6, 2),
    )  # fmt: skip
    return random_model(config), SentencePieceTokenizer.from_dir(SHIPPED)


def report(name: str, result: Result) -> bool:
    """One line; whether it is well."""
    verdict = "same" if result.agree else "DIFFER"
    print(
        f"{name:<34} {verdict:<7} {result.same}/{result.of} ids, logits within {result.difference:.1e}; "
        f"as it runs: {result.as_it_runs}",
        flush=True,
    )
    return result.agree


def texts_agree(path: Path) -> bool:
    """Tokens of texts, and of conversations through the template."""
    ours, theirs = load_engine(path, dtype="float32", threads=1), Peer(path)
    other = [text for text in TEXTS if ours.tokenize(text) != theirs.ids(text)]
    talks = [talk for talk in TALKS if ours.prompt_ids(talk) != theirs.prompt(talk)]
    print(f"{'tokens of texts':<34} {'DIFFER' if other else 'same':<7} {len(TEXTS) - len(other)}/{len(TEXTS)} {other}")
    print(f"{'tokens of conversations':<34} {'DIFFER' if talks else 'same':<7} {len(TALKS) - len(talks)}/{len(TALKS)}")
    return not other and not talks


def write_goldens(directory: Path) -> bool:
    """One file a type as llama.cpp quantised it, and the ids with which llama.cpp went on."""
    model, tokenizer = golden_model()
    base = directory / "golden.gguf"
    write_gguf(base, model, tokenizer, Companions("golden"), "f32")
    GOLDENS.mkdir(parents=True, exist_ok=True)
    prompt = [1, *tokenizer.encode("the theatre, at the end")]
    told, well = {}, True
    for name in (name for name in TYPES if not name.endswith(("_M", "_L"))):  # those are mixtures of the others
        path = quantized(base, GOLDENS / f"{name}.gguf", TYPES[name], pure=True)
        exact = Peer(quantized(path, directory / "exact.gguf", ALL_F32))
        well &= report(f"golden, {name} of llama.cpp", compare(path, [prompt], directory))
        told[name] = {"prompt": prompt, "greedy": exact.greedy(prompt, 48)}
        told[name]["last"] = [round(float(x), 5) for x in exact.logits(prompt)[-1]]
    lines = ",\n".join(f' "{name}": {json.dumps(value)}' for name, value in told.items())
    (GOLDENS / "llama_cpp.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    return well


def measure_speed(path: Path, prompt: Sequence[int]) -> None:
    """Greedy tokens a second of processor time, each on one thread: the best of five runs of 128 tokens."""
    ours, peer = load_engine(path, threads=1), Peer(path)
    told = f"tfm in {ours.info.dtype} {_rate(lambda: greedy(ours, prompt, 128)):.0f} tokens/s"
    print(f"{path.name}: {told}, llama.cpp {_rate(lambda: peer.greedy(prompt, 128)):.0f} tokens/s", flush=True)


def _rate(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(5):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return 128 / min(seconds)


def main() -> int:
    """Compare all; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goldens", action="store_true")
    parser.add_argument("--speed", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    shipped = open_source(SHIPPED)
    weights = shipped.model(torch.float32, torch.device("cpu"))
    well = True
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for title, model, tokenizer in (
            ("shipped", weights, shipped.tokenizer()), ("untied", *untied()), ("wide", *golden_model()),
        ):  # fmt: skip
            companions = Companions(title, shipped.templates() if title == "shipped" else {})
            prompts = [[1, *tokenizer.encode(text)] for text in PROMPTS]
            for quant in QUANTS:
                path = directory / f"{title}-{quant}.gguf"
                write_gguf(path, model, tokenizer, companions, quant)
                some = prompts if quant == "f32" else prompts[:1]
                well &= report(f"{title}, {quant} written here", compare(path, some, directory))
            for kind, number in TYPES.items() if title != "untied" else ():
                path = quantized(directory / f"{title}-f32.gguf", directory / f"{title}-{kind}.gguf", number)
                well &= report(f"{title}, {kind} of llama.cpp", compare(path, prompts[:1], directory))
        well &= texts_agree(directory / "shipped-f32.gguf")
        if asked.goldens:
            well &= write_goldens(directory)
        if asked.speed:
            for quant in ("f32", "bf16", "q8_0", "q4_0"):
                measure_speed(directory / f"shipped-{quant}.gguf", [1, *shipped.tokenizer().encode("Who are you?")])
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
