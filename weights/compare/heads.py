"""`tfm train compare-heads`: the same attention split into more heads, and heads that see more or less of the input."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.layers.linear import Linear
from weights.compare.attention import BATCH, COLUMNS, LR, ROW, VOCABULARY, sizes, small_config
from weights.compare.trials import Variant, compare, notes_of, read_data, write_report

SPLITS = (1, 2, 4, 8, 16)  # heads of one width all together


class SlicedLinear(Linear):
    """The fused projection to queries, keys and values, where head h sees its own slice of the input alone.

    Slice h is the numbers h·C/H to (h + 1)·C/H. weight: as Attention's, of which a part 1 - 1/H is never used.
    """

    seen: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.d_model, sum(config.qkv_rows))
        heads = torch.eye(config.n_heads).repeat_interleave(config.head_dim, 0)  # H·D rows, H slices
        slices = heads.repeat_interleave(config.d_model // config.n_heads, 1)
        self.register_buffer("seen", slices.repeat(3, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.seen)


def sliced(config: ModelConfig) -> DecoderLM:
    """A decoder whose heads see a slice of the input each."""
    model = DecoderLM(config)
    for block in model.blocks:
        block.attention.qkv = SlicedLinear(config)  # type: ignore[union-attr]
    return model


def head_variants(vocab_size: int) -> list[Variant]:
    """One width of all heads together, split; then heads as wide as the model, and heads that see a slice."""
    base = small_config(vocab_size)
    width, quarter = base.d_model, base.d_model // 4

    def heads(n: int, dim: int) -> ModelConfig:
        return replace(base, n_heads=n, n_kv_heads=n, head_dim=dim)

    spent = (heads(2, width).n_parameters - base.n_parameters) // base.n_layers
    narrow = replace(heads(2, width), d_ff=base.d_ff - round(spent / (3 * width)))  # three matrices of C x d_ff
    return [
        *(Variant(f"{n} x {width // n}", heads(n, width // n), f"{n} heads of {width // n}") for n in SPLITS),
        Variant(f"2 x {width}", narrow, f"2 heads as wide as the model; d_ff {narrow.d_ff}, not {base.d_ff}"),
        Variant(f"4 x {width}", heads(4, width), "4 heads as wide as the model, and more parameters"),
        Variant(f"4 x {quarter}, sliced", base, f"each head sees {quarter} numbers of the input, not {width}", sliced),
    ]  # fmt: skip


def compare_heads(corpus: Path, out: Path, *, seeds: int, tokens: int) -> str:
    """Train each variant with each seed on the same tokens; write compare-heads.md, .json and .png; the text.

    Raises DataError when the corpus has no text or `out` holds other settings.
    """
    data = read_data(corpus, out, vocab_size=VOCABULARY, tokens=tokens)
    variants = head_variants(data.vocab_size)
    outcomes = compare(
        variants, data, seeds=range(seeds), tokens=tokens, row=ROW, batch=BATCH, lr=LR, measure=sizes, out=out
    )
    base = variants[0].config
    about = (
        f"{base.n_layers} layers, width {base.d_model}; {tokens:,} tokens a run in rows of {ROW}, {seeds} seeds, mean "
        "± standard deviation; losses in nats per token.\n\n"
    )
    about += notes_of(variants)
    return write_report(out, "compare-heads", "Heads at equal tokens", outcomes, COLUMNS, about)
