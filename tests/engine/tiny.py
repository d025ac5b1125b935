"""Tiny models and tokenizers of bytes, for tests that need a decoder but no language."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.config import ModelConfig, RopeScaling
from engine.decoder import DecoderLM
from engine.events import Finish, PrefillProgress, TextDelta, TokenEvent
from engine.generate import Generation
from engine.params import SamplingParams
from engine.sampler import TokenRules

TINY = ModelConfig(
    vocab_size=64, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48, max_positions=256
)
YARN = RopeScaling("yarn", 4.0, 24, attention_factor=1.2, truncate=False)
LLAMA3 = RopeScaling("llama3", 8.0, 24)
# One of each kind of shape and position that the engine computes.
KINDS: dict[str, ModelConfig] = {
    "gqa tied": TINY,
    "mha untied": replace(TINY, n_kv_heads=4, tie_embeddings=False),
    "mqa biases": replace(TINY, n_kv_heads=1, attention_bias=True, mlp_bias=True),
    "wide heads": replace(TINY, head_dim=16),
    "linear": replace(TINY, rope_scaling=RopeScaling("linear", 4.0, 256)),
    "dynamic": replace(TINY, rope_scaling=RopeScaling("dynamic", 4.0, 256)),
    "yarn": replace(TINY, rope_scaling=YARN, head_dim=16, rope_theta=100.0),
    "llama3": replace(TINY, rope_scaling=LLAMA3, head_dim=16, rope_theta=500.0),
}
# And of each score function, kind of position and rank of values, and of what other families than Llama have.
OTHER_KINDS: dict[str, ModelConfig] = {
    "dot": replace(TINY, score="dot", positions="none"),
    "bilinear": replace(TINY, score="bilinear"),
    "additive": replace(TINY, score="additive", positions="alibi"),
    "cosine": replace(TINY, score="cosine", positions="learned"),
    "scaled cosine mqa": replace(TINY, score="scaled_cosine", n_kv_heads=1),
    "sinusoidal": replace(TINY, positions="sinusoidal"),
    "learned": replace(TINY, positions="learned"),
    "alibi": replace(TINY, positions="alibi"),
    "alibi of three heads": replace(TINY, positions="alibi", n_heads=3, n_kv_heads=3, head_dim=7),
    "none": replace(TINY, positions="none"),
    "values of rank 3": replace(TINY, value_rank=3, attention_bias=True),
    "values of rank 24, additive": replace(TINY, value_rank=24, score="additive", n_kv_heads=1),
    "window": replace(TINY, window=9, qkv_bias=True),
    "window of one": replace(TINY, window=1, full_layers=(0,)),
    "window in one of three layers": replace(
        TINY, n_layers=3, window=5, full_layers=(0, 2), window_rope_theta=100.0,
        rope_scaling=RopeScaling("linear", 4.0, 256), qk_norm="head",
    ),
    "window alibi": replace(TINY, window=9, positions="alibi"),
    "window and no rotation in a layer": replace(TINY, window=9, full_layers=(1,), no_rope_layers=(1,), rotary_dim=4),
    "norm of the output": replace(TINY, norm_place="output", qk_norm="width"),
    "capped": replace(
        TINY, norm="rms_plus_one", norm_place="both", qk_norm="head", score_cap=3.0, score_dim=5.0, logit_cap=5.0,
        scale_embedding=True, activation="geglu_tanh", window=11, full_layers=(1,),
    ),
    "parallel": replace(
        TINY, parallel=True, norm="layer", rotary_dim=4, activation="gelu", attention_bias=True, mlp_bias=True,
        score_dim=3.0,
    ),
    "embedding norm": replace(TINY, embedding_norm=True, norm="layer", positions="alibi", activation="gelu_tanh"),
    "norm after": replace(TINY, norm_place="after", norm="layer", qk_norm="width", activation="silu"),
}  # fmt: skip


def tiny_model(config: ModelConfig = TINY, seed: int = 0, dtype: torch.dtype = torch.float32) -> DecoderLM:
    """A model of random weights, large enough that its logits differ by whole numbers and not by roundings."""
    model = DecoderLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight"):
                p.copy_(1 + 0.2 * torch.randn(p.shape, generator=generator))
            elif name.endswith(("bias", "log_scale")):
                p.copy_(0.3 * torch.randn(p.shape, generator=generator))
            else:
                scale = 0.5 if "embedding" in name or "head" in name else 1.5 / p.shape[-1] ** 0.5
                p.copy_(scale * torch.randn(p.shape, generator=generator))
    return model.to(dtype).eval().requires_grad_(False)


def random_ids(count: int, seed: int = 0, vocab_size: int = 64) -> list[int]:
    """`count` ids, none of them one of the first three."""
    return torch.randint(3, vocab_size, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def rules(vocab_size: int = 64, ends: Sequence[int] = (2,), never: Sequence[int] = (0, 1)) -> TokenRules:
    """Token rules of a tiny model: id 2 ends, ids 0 and 1 never occur."""
    return TokenRules.of(vocab_size, ends, never)


def complete(
    model: Any,
    prompt: Sequence[int],
    params: SamplingParams,
    *,
    cache: KVCache | None = None,
    seed: int = 0,
    **more: Any,
) -> Generation:
    """A generation that has run to its end."""
    cache = KVCache(model.config, dtype=model.embedding.weight.dtype) if cache is None else cache
    generation = Generation(
        model, prompt, params, cache, more.pop("rules", rules(model.config.vocab_size)), seed=seed, **more
    )
    for _ in generation:
        pass
    return generation


def greedy(count: int, **more: Any) -> SamplingParams:
    """Greedy, and never ended before `count` tokens."""
    return SamplingParams(greedy=True, max_new_tokens=count, min_new_tokens=count, **more)


class Spy:
    """A model that notes what it was asked to read. `fail` is called before each pass with the pass's ids."""

    def __init__(self, model: DecoderLM, fail: Callable[[list[int]], None] = lambda ids: None) -> None:
        self.model, self.config, self.embedding = model, model.config, model.embedding
        self.fail = fail
        self.read: list[list[int]] = []  # the ids of each pass

    def __call__(self, ids: Tensor, cache: KVCache | None = None, last_only: bool = False) -> Tensor:
        self.fail(ids[0].tolist())
        logits = self.model(ids, cache, last_only)
        self.read.append(ids[0].tolist())
        return logits

    @property
    def tokens_read(self) -> int:
        """How many positions were computed."""
        return sum(map(len, self.read))


class Scripted:
    """A model whose greedy answer is the given ids, whatever the prompt; after them, always the last."""

    def __init__(self, model: DecoderLM, script: Sequence[int]) -> None:
        self.model, self.config, self.embedding = model, model.config, model.embedding
        self.script = list(script)
        self.passes = 0
        self.spoken = 0

    def __call__(self, ids: Tensor, cache: KVCache | None = None, last_only: bool = False) -> Tensor:
        self.model(ids, cache, last_only)
        self.passes += 1
        if ids.shape[1] > 1:
            self.spoken = 0  # a prompt begins a new answer
        logits = torch.zeros(1, 1, self.config.vocab_size)
        logits[..., self.script[min(self.spoken, len(self.script) - 1)]] = 20.0
        self.spoken += 1
        return logits


class ByteTokens:
    """Token i is the bytes table[i]; notes how often it was asked."""

    def __init__(self, table: Sequence[bytes]) -> None:
        self.table = list(table)
        self.calls = 0

    def token_bytes(self, token: int) -> bytes:
        self.calls += 1
        return self.table[token]


def token_events(ids: Sequence[int]) -> Iterator[TokenEvent]:
    """Events as a generation gives them."""
    return (TokenEvent(i, -1.0) for i in ids)


def text_of(items: Sequence[object]) -> str:
    """The text of a stream."""
    return "".join(i.text for i in items if isinstance(i, TextDelta))


def finish_of(items: Sequence[object], *, shifted: bool = False) -> Finish:
    """The one Finish of a stream, which stands last; progress comes before text, unless the context was shifted."""
    finishes = [i for i in items if isinstance(i, Finish)]
    assert len(finishes) == 1 and items[-1] is finishes[0]
    kinds = [0 if isinstance(i, PrefillProgress) else 1 for i in items[:-1]]
    assert kinds == sorted(kinds) or shifted
    return finishes[0]


def chi_square_fits(counts: Sequence[int], probs: Sequence[float]) -> bool:
    """Whether counts may be a sample of probs: Pearson's statistic below its 1 - 1e-6 quantile (Wilson-Hilferty)."""
    total = sum(counts)
    assert all(n == 0 for n, q in zip(counts, probs, strict=True) if q == 0)
    cells = [(n, q * total) for n, q in zip(counts, probs, strict=True) if q > 0]
    assert all(e >= 5 for _, e in cells), "too few draws for this distribution"
    freedom = len(cells) - 1
    if freedom == 0:
        return True
    statistic = sum((n - e) ** 2 / e for n, e in cells)
    limit = freedom * (1 - 2 / (9 * freedom) + 4.753 * math.sqrt(2 / (9 * freedom))) ** 3
    return statistic < limit
