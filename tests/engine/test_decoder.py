"""DecoderLM: equal to transformers, and to itself however its input is cut."""

import json
from pathlib import Path
from typing import Any

import formula
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny import KINDS, OTHER_KINDS, TINY, complete, greedy, random_ids, rules, tiny_model

from engine.cache import KVCache
from engine.checkpoint import load_config, load_model
from engine.decoder import DecoderLM

GOLDENS = Path(__file__).parents[1] / "goldens" / "llama"
ALL = KINDS | OTHER_KINDS
CASES = sorted(path.stem for path in GOLDENS.glob("*.json"))
NEEDED = {
    "mha",
    "mqa",
    "gqa",
    "tied",
    "untied",
    "bias",
    "wide",
    "default",
    "linear",
    "dynamic",
    "yarn",
    "llama3",
    "old",
    "new",
}


def golden(case: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((GOLDENS / f"{case}.json").read_text(encoding="utf-8"))
    return value


def load_golden(case: str, directory: Path) -> DecoderLM:
    """The model of a golden, through a directory as a stranger would have it."""
    config = golden(case)["config"]
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(formula.tensors(config), directory / "model.safetensors", {"format": "pt"})
    return load_model(directory, load_config(directory), torch.float32, torch.device("cpu"))


def test_there_is_a_golden_for_every_kind_of_llama() -> None:
    assert {word for case in CASES for word in case.split("-")} >= NEEDED


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers(case: str, tmp_path: Path) -> None:
    """L5: loading, layout of the heads, norms, positions and their scalings, in both forms of config.json."""
    known = golden(case)
    logits = load_golden(case, tmp_path)(torch.tensor([known["ids"]]))[0]
    assert torch.allclose(logits[known["rows"]], torch.tensor(known["logits"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_greedy_continuation_equals_that_of_transformers(case: str, tmp_path: Path) -> None:
    known = golden(case)
    model = load_golden(case, tmp_path)
    generation = complete(model, known["prompt"], greedy(len(known["greedy"])), rules=rules(never=()))
    assert generation.completion == known["greedy"]


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers_now(case: str, tmp_path: Path) -> None:
    """The same against the transformers that is installed, over all positions: the goldens are not stale."""
    pytest.importorskip("transformers")
    from transformers import LlamaConfig, LlamaForCausalLM

    known = golden(case)
    reference = LlamaForCausalLM(LlamaConfig.from_dict(dict(known["config"])))
    reference.load_state_dict(formula.tensors(known["config"]), strict=False)
    reference.tie_weights()
    ids = torch.tensor([known["ids"]])
    with torch.no_grad():
        expected = reference.eval()(ids).logits[0]
    assert torch.allclose(load_golden(case, tmp_path)(ids)[0], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ALL)
def test_one_at_a_time_and_in_chunks_of_three_gives_the_logits_of_one_pass(kind: str) -> None:
    """K2"""
    model, ids = tiny_model(ALL[kind]), torch.tensor([random_ids(40)])
    whole = model(ids)
    for size in (1, 3):
        cache = KVCache(model.config)
        parts = [model(part, cache) for part in ids.split(size, dim=1)]
        assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-4, rtol=0)


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8), kind=st.sampled_from(sorted(ALL)))
def test_any_split_into_chunks_gives_the_logits_of_one_pass(sizes: list[int], kind: str) -> None:
    """K1, K2"""
    model, ids = tiny_model(ALL[kind]), torch.tensor([random_ids(sum(sizes))])
    cache = KVCache(model.config)
    parts = [model(part, cache) for part in ids.split(sizes, dim=1)]
    assert cache.length == sum(sizes)
    assert torch.allclose(torch.cat(parts, 1), model(ids), atol=1e-4, rtol=0)


def test_last_only_gives_the_last_position_and_no_other() -> None:
    model, ids = tiny_model(), torch.tensor([random_ids(12)])
    assert model(ids, last_only=True).shape == (1, 1, 64)
    assert torch.allclose(model(ids, last_only=True)[:, 0], model(ids)[:, -1], atol=1e-5)


def test_a_later_token_never_changes_an_earlier_logit() -> None:
    model, ids = tiny_model(), random_ids(20)
    changed = [*ids[:13], 9, *ids[14:]]
    before, after = model(torch.tensor([ids]))[0], model(torch.tensor([changed]))[0]
    assert torch.equal(before[:13], after[:13])
    assert not torch.allclose(before[13:], after[13:])


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    """A2"""
    model, rows = tiny_model(), torch.tensor([random_ids(15, seed=s) for s in range(3)])
    together = model(rows)
    cache = KVCache(model.config, batch=3)
    stepwise = torch.cat([model(rows[:, :9], cache), model(rows[:, 9:], cache)], 1)
    for row in range(3):
        alone = model(rows[row : row + 1])[0]
        assert torch.allclose(together[row], alone, atol=1e-4) and torch.allclose(stepwise[row], alone, atol=1e-4)


def test_packed_documents_do_not_see_each_other() -> None:
    """A4: with a change in document 0, the hidden states of document 1 are bit for bit the same."""
    model, ids = tiny_model(), random_ids(20)
    documents = torch.tensor([[0] * 8 + [1] * 12])
    changed = [9, *ids[1:]]
    before = model.hidden(torch.tensor([ids]), documents=documents)[0]
    after = model.hidden(torch.tensor([changed]), documents=documents)[0]
    assert torch.equal(before[8:], after[8:])
    assert not torch.allclose(before[:8], after[:8])


def test_the_angles_of_one_length_do_not_leak_into_the_next() -> None:
    """Dynamic angles depend on the length: a long pass, a short one, a long one, each as from a new model."""
    config = KINDS["dynamic"].__class__(**(vars(KINDS["dynamic"]) | {"max_positions": 24}))
    model = tiny_model(config)
    for count in (40, 10, 24, 30, 5):
        ids = torch.tensor([random_ids(count)])
        assert torch.equal(model(ids), tiny_model(config)(ids))


def test_initial_weights_follow_the_generator_and_the_written_table() -> None:
    model, again = DecoderLM(TINY), DecoderLM(TINY)
    model.init_weights(torch.Generator().manual_seed(5))
    again.init_weights(torch.Generator().manual_seed(5))
    for (name, p), q in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
        if p.dim() == 1:
            assert torch.equal(p, torch.ones_like(p))
        else:
            expected = 0.02 / 2 if name.endswith(("out.weight", "down.weight")) else 0.02
            assert float(p.detach().std()) == pytest.approx(expected, rel=0.1)


def test_number_of_parameters_is_counted_as_it_is() -> None:
    for config in ALL.values():
        assert config.n_parameters == sum(p.numel() for p in DecoderLM(config).parameters())
