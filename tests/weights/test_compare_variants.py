"""`tfm train compare-residual`, -heads, -masking, -embeddings, -recurrence: what each variant is, and the commands."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.layers.attention import Step, causal_mask, document_mask
from engine.naive import naive_greedy
from weights.cli import main
from weights.compare import recurrence as compare_recurrence
from weights.compare.attention import UnitStart, attention_variants
from weights.compare.embeddings import trained_rows
from weights.compare.experts import explained
from weights.compare.heads import SlicedLinear, head_variants
from weights.compare.masking import go_on, loss_one_by_one, masking_variants, without_mask
from weights.compare.positions import loss_at
from weights.compare.recurrence import FIRST, SYMBOLS, LSTMConfig, batch_of, copies, said_again
from weights.compare.residual import WithoutNorms, WithoutResidual, gradients_by_layer, residual_variants
from weights.data.mixture import Batch
from weights.objectives import next_token

CONFIG = ModelConfig(
    vocab_size=40, d_model=32, n_layers=2, n_heads=4, n_kv_heads=4, head_dim=8, d_ff=24, max_positions=16
)
SAID = FIRST + SYMBOLS  # ids of what is said again
STEP = Step(None, None, None, is_causal=True)


def drawn(model: Any, seed: int = 0) -> Any:
    """A model or a block with weights of some size, so that every part of it counts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return model


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ids_of(*shape: int) -> torch.Tensor:
    return torch.randint(0, CONFIG.vocab_size, shape, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def test_a_block_without_residual_paths_is_its_parts_alone_and_one_without_norms_adds_them() -> None:
    x = numbers(2, 5, 32)
    bare = drawn(WithoutResidual(CONFIG))
    middle = bare.attention(bare.attention_norm(x), STEP)
    assert torch.allclose(bare(x, STEP), bare.mlp(bare.mlp_norm(middle)))
    free = drawn(WithoutNorms(CONFIG))
    middle = x + free.attention(x, STEP)
    assert torch.allclose(free(x, STEP), middle + free.mlp(middle))


@pytest.mark.parametrize("variant", residual_variants(40), ids=lambda v: v.name)
def test_gradients_are_told_layer_by_layer_for_every_variant(variant: Any) -> None:
    model = replace(variant, config=replace(variant.config, n_layers=3)).fresh(seed=0)
    batch = Batch(ids_of(2, 8), ids_of(2, 8), torch.zeros(2, 8, dtype=torch.long))
    told = gradients_by_layer(model, batch)
    loss = next_token(model, batch) / batch.n_targets
    for norm, block in zip(told, model.blocks, strict=True):
        used = [p for p in block.parameters() if p.grad is not None]
        gradients = torch.autograd.grad(loss, used, retain_graph=True)
        assert norm == pytest.approx(float(sum(g.square().sum() for g in gradients) ** 0.5), rel=1e-4)


def test_a_sliced_head_sees_its_own_slice_and_no_other() -> None:
    projection = drawn(SlicedLinear(CONFIG))
    sees = torch.autograd.functional.jacobian(projection, numbers(32)) != 0  # type: ignore[no-untyped-call]
    for row in range(3 * 32):
        head = row % 32 // 8
        assert sees[row].nonzero().flatten().tolist() == list(range(8 * head, 8 * head + 8))


def test_heads_cost_the_same_however_the_width_is_split_and_full_width_is_paid_for() -> None:
    sizes = {v.name: v.config.n_parameters for v in head_variants(1024)}
    base = sizes.pop("4 x 32")
    assert sizes.pop("4 x 128") > 1.3 * base
    assert all(size == pytest.approx(base, rel=1e-3) for size in sizes.values())
    assert all(v.fresh(0).config == v.config for v in head_variants(40)[-2:])


def test_queries_and_keys_begin_with_unit_variance() -> None:
    wide = attention_variants(1024)[-1]
    model = wide.fresh(seed=0)
    assert isinstance(model, UnitStart) and model.config.score == "dot"
    x = torch.nn.functional.normalize(numbers(200, 128), dim=-1) * 128**0.5  # as a norm leaves it
    assert float(model.blocks[0].attention.qkv(x).detach().std()) == pytest.approx(1.0, rel=0.05)


def test_without_the_mask_a_position_sees_what_follows_in_its_document_and_no_other_document() -> None:
    model = drawn(without_mask(CONFIG))
    documents = torch.tensor([[0] * 5 + [1] * 3])
    ids = ids_of(1, 8)
    changed = ids.clone()
    changed[0, 4] = (ids[0, 4] + 1) % 40
    seen = [model.hidden(ids, documents=documents), model.hidden(changed, documents=documents)]
    moved = (seen[0] - seen[1]).abs().amax(-1)[0] > 1e-6
    assert moved.tolist() == [True] * 5 + [False] * 3
    assert document_mask(documents).shape == (1, 1, 8, 8) and not causal_mask(0, 8, ids.device)[0, 4]


def test_with_the_mask_one_pass_predicts_as_one_by_one_and_without_it_not() -> None:
    windows = ids_of(3, 17)
    causal, unmasked = (drawn(v.build(CONFIG)) for v in masking_variants(40))
    assert loss_one_by_one(causal, windows) == pytest.approx(loss_at(causal, windows, 16), rel=1e-5)
    assert abs(loss_one_by_one(unmasked, windows) - loss_at(unmasked, windows, 16)) > 1e-3
    assert go_on(causal, [1, 5, 9], 6) == naive_greedy(causal, [1, 5, 9], 6)


def test_an_untied_embedding_is_trained_where_it_is_read_and_a_tied_one_everywhere() -> None:
    ids = torch.tensor([[3, 9, 9, 4], [4, 20, 3, 3]])
    batch = Batch(ids, ids.roll(-1, 1), torch.zeros_like(ids))
    tied, untied = (drawn(DecoderLM(replace(CONFIG, tie_embeddings=t))) for t in (True, False))
    assert trained_rows(untied, batch) == (4 / 40, 0.0)
    share, unread = trained_rows(tied, batch)
    gradient = tied.embedding.weight.grad
    others = [i for i in range(40) if i not in (3, 4, 9, 20)]
    assert share == 1.0
    assert unread == pytest.approx(float(gradient[others].square().sum() / gradient.square().sum()), rel=1e-5)


def test_a_choice_is_explained_by_what_decides_it_and_by_nothing_else() -> None:
    facts = torch.tensor([0, 1, 2, 3] * 4)
    assert explained(facts % 2, facts) == pytest.approx(1.0)
    assert explained(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1] * 2), facts) == pytest.approx(0.0)
    assert explained(facts, facts % 2) == pytest.approx(0.5)
    assert explained(torch.zeros(16, dtype=torch.long), facts) == 0.0


class Oracle:
    """A model that gives these logits."""

    config, head_weight = None, torch.eye(SAID)

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def __call__(self, *_: Any) -> torch.Tensor:
        return self.logits

    def hidden(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.logits


def test_a_sequence_is_its_own_translation_and_only_its_symbols_are_counted() -> None:
    batch = batch_of(copies(np.random.default_rng(0), [3, 3]))
    assert torch.equal(batch.source[:, 1:], batch.targets) and batch.n_targets == 8
    logits = torch.nn.functional.one_hot(batch.targets, SAID) * 60.0
    logits[0, 0] = 0.0  # a symbol of six is wrong; </s> does not count
    logits[:, -1] = logits[:, -1].roll(1, -1)
    loss, right = said_again(Oracle(logits), batch)  # type: ignore[arg-type]
    assert right == pytest.approx(5 / 6) and loss > 10


@pytest.fixture
def smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of one little layer, few pieces, short rows."""

    def config(vocab_size: int) -> ModelConfig:
        return replace(CONFIG, vocab_size=vocab_size, n_layers=1, max_positions=8, d_ff=64)

    for name in ("heads", "masking", "embeddings", "residual", "attention"):
        module = f"weights.compare.{name}"
        monkeypatch.setattr(f"{module}.{'deep' if name == 'residual' else 'small'}_config", config)
        monkeypatch.setattr(f"{module}.VOCABULARY", 380)
        monkeypatch.setattr(f"{module}.ROW", 8)
    monkeypatch.setattr("weights.compare.masking.PROMPT", 3)
    monkeypatch.setattr("weights.compare.masking.WRITTEN", 4)
    monkeypatch.setattr("weights.compare.trials.HELD_OUT_TOKENS", 256)


@pytest.mark.parametrize(
    ("what", "rows", "files"),
    [
        ("heads", ["1 x 32", "16 x 2", "2 x 32", "4 x 8, sliced"], []),
        ("masking", ["causal mask", "no mask"], []),
        ("embeddings", ["tied", "untied"], ["rows.png"]),
        (
            "residual",
            ["norm after", "no norms", "norm after, large start", "no residual, large start"],
            ["gradients.json", "gradients.png"],
        ),
    ],
)
def test_the_commands_train_every_variant(
    what: str, rows: list[str], files: list[str], long_texts: Path, smallest: None, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    flags = ["--corpus", str(long_texts), "--out", str(tmp_path), "--seeds", "1", "--tokens", "128", "--threads", "1"]
    assert main([f"compare-{what}", *flags]) == 0
    text = capsys.readouterr().out
    assert all(f"\n| {row} |" in text and f"\n- {row}:" in text for row in rows)
    assert all((tmp_path / name).stat().st_size for name in (*files, f"compare-{what}.json", f"compare-{what}.png"))
    if what == "masking":
        assert "What seed 0 makes of 3 held-out tokens" in text


def test_the_command_compares_recurrence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lstm, *_, transformer = compare_recurrence.kinds()
    shape: dict[str, Any] = {"d_model": 8, "n_heads": 1, "n_kv_heads": 1, "head_dim": 8, "d_ff": 8}
    little = [
        replace(lstm, config=LSTMConfig(SAID, 8, 1, "none")),
        replace(transformer, config=replace(transformer.config, **shape)),
    ]
    monkeypatch.setattr(compare_recurrence, "kinds", lambda: little)
    small = {
        "PAIRS": 50,
        "LONGEST": 4,
        "ROW": 64,
        "LENGTHS": (2, 4),
        "MEASURED": 12,
        "SPEED_LENGTHS": (8,),
    }
    for name, value in small.items():
        monkeypatch.setattr(compare_recurrence, name, value)
    passed = compare_recurrence.pass_seconds  # the passes are run, but their seconds are taken anew by every call
    monkeypatch.setattr(compare_recurrence, "pass_seconds", lambda *given: 0.5 if passed(*given) > 0 else 0.0)
    line = ["compare-recurrence", "--out", str(tmp_path), "--seeds", "2", "--tokens", "200", "--threads", "1"]
    assert main(line) == 0
    told = capsys.readouterr().out
    assert "\n| LSTM |" in told and "\n| transformer |" in told and (tmp_path / "recurrence.png").stat().st_size
    outcomes = json.loads((tmp_path / "compare-recurrence.json").read_text())
    assert [(o["variant"], o["seed"]) for o in outcomes] == [
        ("LSTM", 0), ("transformer", 0), ("LSTM", 1), ("transformer", 1)
    ]  # fmt: skip
    assert all(0 <= o["extra"]["right_4"] <= 1 < o["extra"]["speed_8"] for o in outcomes)
    assert main(line) == 0 and capsys.readouterr().out == told  # read, not trained again
