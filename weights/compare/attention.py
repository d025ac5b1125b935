"""`tfm train compare-attention`: one small decoder with each score function, grouping of heads and rank of values."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from weights.compare.trials import Variant, compare, notes_of, read_data, write_report
from weights.data.mixture import Batch

VOCABULARY = 1024
ROW, BATCH, LR = 128, 8, 2e-3
RANK = 8  # of the low-rank values: a quarter of a head
START = "queries and keys of unit variance at the start"
COLUMNS = {
    "held-out loss": "held_out", "tokens/s": "tokens_per_s", "parameters": "parameters",
    "KV bytes a position": "kv_bytes",
}  # fmt: skip


def small_config(vocab_size: int) -> ModelConfig:
    """The decoder that is compared: four layers of four heads of 32."""
    return ModelConfig(
        vocab_size=vocab_size, d_model=128, n_layers=4, n_heads=4, n_kv_heads=4, head_dim=32, d_ff=384,
        max_positions=ROW,
    )  # fmt: skip


def attention_variants(vocab_size: int) -> list[Variant]:
    """The scaled dot product with four heads, and what differs from it in one thing; at last √d where it is large."""
    base = small_config(vocab_size)
    wide = replace(base, n_heads=1, n_kv_heads=1, head_dim=base.d_model)
    return [
        Variant("scaled dot", base, "q·k / √d, four heads; all but the last two differ from it in one thing"),
        Variant("dot", replace(base, score="dot"), "q·k"),
        Variant("bilinear", replace(base, score="bilinear"), "q W k, W for each head"),
        Variant("additive", replace(base, score="additive"), "v · tanh(Wq q + Wk k)"),
        Variant("cosine", replace(base, score="cosine"), "the cosine alone, within ±1"),
        Variant("scaled cosine", replace(base, score="scaled_cosine"), "the cosine times a learned number a head"),
        Variant("grouped-query", replace(base, n_kv_heads=2), "two heads share keys and values"),
        Variant("multi-query", replace(base, n_kv_heads=1), "all heads share keys and values"),
        Variant(f"values of rank {RANK}", replace(base, value_rank=RANK), f"each head's value map has rank {RANK}"),
        Variant("one wide head, unit start", wide, f"q·k / √d, one head of {base.d_model}; {START}", UnitStart),
        Variant("the same, dot", replace(wide, score="dot"), f"q·k, one head of {base.d_model}; {START}", UnitStart),
    ]


class UnitStart(DecoderLM):
    """A decoder whose queries and keys begin with unit variance, as Vaswani 2017 has them, and so q·k with variance D.

    The 0.02 of GPT-2 makes them smaller, and with them the harm of scores that are not divided by √D.
    """

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        super().init_weights(generator)
        for block in self.blocks:
            block.attention.qkv.weight.mul_(self.config.d_model**-0.5 / 0.02)  # type: ignore[union-attr, operator]


def sizes(model: DecoderLM, _: Sequence[Batch]) -> Mapping[str, float]:
    """Parameters, and bytes of a position in the KV cache (float32)."""
    return {"parameters": model.config.n_parameters, "kv_bytes": model.config.kv_bytes_per_token(4)}


def compare_attention(corpus: Path, out: Path, *, seeds: int, tokens: int) -> str:
    """Train each variant with each seed on the same tokens; write compare-attention.md, .json and .png; the text.

    Raises DataError when the corpus has no text or `out` holds other settings.
    """
    data = read_data(corpus, out, vocab_size=VOCABULARY, tokens=tokens)
    variants = attention_variants(data.vocab_size)
    outcomes = compare(
        variants, data, seeds=range(seeds), tokens=tokens, row=ROW, batch=BATCH, lr=LR, measure=sizes, out=out
    )
    base = variants[0].config
    about = (
        f"{base.n_layers} layers, width {base.d_model}, {base.n_heads} heads of {base.head_dim}; {tokens:,} tokens a "
        f"run in rows of {ROW}, {seeds} seeds, mean ± standard deviation; losses in nats per token.\n\n"
    )
    about += notes_of(variants)
    return write_report(out, "compare-attention", "Kinds of attention at equal tokens", outcomes, COLUMNS, about)
