"""`tfm train compare-attention` and `compare-positions`: the windows, the losses at each length, and the commands."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import ContextOverflow, DataError
from weights.cli import main
from weights.compare import attention as attention
from weights.compare import positions as positions
from weights.compare.positions import long_windows, loss_at
from weights.data.shards import Shard

CONFIG = ModelConfig(
    vocab_size=40, d_model=16, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=8, d_ff=16, max_positions=8,
    positions="learned",
)  # fmt: skip


def shard(*lengths: int) -> Shard:
    """Documents whose ids count from 0 over all of them."""
    starts = np.cumsum([0, *lengths]).astype(np.int64)
    return Shard(np.arange(starts[-1], dtype=np.uint16), np.ones(starts[-1], np.uint8), starts)


def model_of(config: ModelConfig = CONFIG) -> DecoderLM:
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return model.requires_grad_(False)


def test_windows_lie_within_one_document_and_documents_give_one_in_turn() -> None:
    windows = long_windows(shard(3, 11, 4, 5), 3, count=9)
    assert windows.tolist() == [[3, 4, 5, 6], [14, 15, 16, 17], [18, 19, 20, 21], [7, 8, 9, 10]]
    assert long_windows(shard(3, 11, 4, 5), 3, count=2).tolist() == windows[:2].tolist()
    with pytest.raises(DataError, match="No held-out document has 13 tokens"):
        long_windows(shard(3, 11), 12)


def test_a_loss_at_a_length_is_the_mean_over_the_same_tokens_with_less_before_them() -> None:
    model = model_of(replace(CONFIG, positions="rope"))
    windows = torch.randint(0, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    for length in (8, 4, 1):
        losses = []
        for window in windows:
            for start in range(0, 8, length):
                logits = model(window[None, start : start + length])[0]
                losses.append(functional.cross_entropy(logits, window[start + 1 : start + length + 1]))
        assert loss_at(model, windows, length) == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)


def test_learned_positions_cannot_be_read_beyond_their_end() -> None:
    windows = torch.randint(0, 40, (2, 17))
    assert loss_at(model_of(), windows, 8) > 0
    with pytest.raises(ContextOverflow, match="16 positions"):
        loss_at(model_of(), windows, 16)


@pytest.fixture
def smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of one little layer, and few pieces."""

    def config(vocab_size: int) -> ModelConfig:
        return replace(CONFIG, vocab_size=vocab_size, n_heads=4, n_kv_heads=4, head_dim=4, positions="rope")

    for module in (attention, positions):
        monkeypatch.setattr(module, "small_config", config)
        monkeypatch.setattr(module, "VOCABULARY", 380)
    monkeypatch.setattr(attention, "ROW", 8)
    monkeypatch.setattr("weights.compare.trials.HELD_OUT_TOKENS", 256)


def test_every_kind_of_positions_is_trained_and_read_at_eight_times_its_length(
    long_texts: Path, smallest: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    flags = ["--corpus", str(long_texts), "--seeds", "2", "--tokens", "512", "--length", "8", "--threads", "1"]
    assert main(["compare-positions", *flags, "--out", str(out)]) == 0
    rows = {line.split(" | ")[0].strip("| "): line for line in capsys.readouterr().out.splitlines() if " | " in line}
    assert set(rows) >= {"rope", "sinusoidal", "learned", "alibi", "none"}
    assert rows["learned"].count("–") == 3 and rows["alibi"].count("±") == 4 and "loss at 64" in rows[""]
    assert {p.name for p in out.iterdir()} >= {"compare-positions.md", "compare-positions.json", "extrapolation.png"}
    with pytest.raises(DataError, match=r"No held-out document.*Choose a smaller --length"):
        main(["compare-positions", *flags[:-4], "--length", "400", "--out", str(tmp_path / "far")])


def test_every_kind_of_attention_is_trained(
    long_texts: Path, smallest: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--corpus", str(long_texts), "--seeds", "1", "--tokens", "256", "--threads", "1"]
    assert main(["compare-attention", *flags, "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    for variant in attention.attention_variants(380):
        assert f"| {variant.name} |" in text and f"- {variant.name}: {variant.note}" in text
    outcomes = json.loads((tmp_path / "out" / "compare-attention.json").read_text())
    sizes = {o["variant"]: o["extra"]["kv_bytes"] for o in outcomes}
    assert sizes["multi-query"] * 4 == sizes["grouped-query"] * 2 == sizes["scaled dot"]


def test_a_corpus_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file text/\*\.train\.jsonl"):
        main(["compare-attention", "--corpus", str(tmp_path), "--out", str(tmp_path / "out"), "--threads", "1"])
