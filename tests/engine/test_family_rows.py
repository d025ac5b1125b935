"""Every family but Llama: equal to transformers, to the definition, and to itself when it is written and read again."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import formula
import pytest
import torch
from family_cases import CASES
from safetensors.torch import load_file, save_file
from tiny import complete, greedy, random_ids, rules
from torch import Tensor

from chat.model_facts import read_facts
from engine.adapter import linear_targets
from engine.cache import KVCache, PrefixCache
from engine.checkpoint import SINGLE, load_config, load_model, save_checkpoint, save_like
from engine.decoder import DecoderLM
from engine.errors import CheckpointError
from engine.families import FAMILIES
from engine.memory import memory_of
from engine.naive import naive_logits

GOLDENS = Path(__file__).parents[1] / "goldens" / "families"
cases = pytest.mark.parametrize("case", CASES)


@cache
def golden(case: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((GOLDENS / f"{case}.json").read_text(encoding="utf-8"))
    return value


def tensors(case: str) -> dict[str, Tensor]:
    return {name: formula.tensor(name, tuple(shape)) for name, shape in golden(case)["tensors"].items()}


def written(case: str, directory: Path, weights: dict[str, Tensor] | None = None) -> Path:
    """The directory of a golden, as a stranger would have it."""
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(golden(case)["config"]), encoding="utf-8")
    save_file(tensors(case) if weights is None else weights, directory / SINGLE, {"format": "pt"})
    return directory


def loaded(directory: Path) -> DecoderLM:
    return load_model(directory, load_config(directory), torch.float32, torch.device("cpu"))


class Models(dict[str, DecoderLM]):
    """The model of each golden, loaded when it is first asked for."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __missing__(self, case: str) -> DecoderLM:
        self[case] = loaded(written(case, self.place / case))
        return self[case]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("families"))


def in_chunks(model: DecoderLM, ids: list[int], size: int) -> Tensor:
    """Logits T V of ids that are read in passes of `size`."""
    cache = KVCache(model.config)
    cache.prepare(len(ids))
    return torch.cat([model(part, cache) for part in torch.tensor([ids]).split(size, 1)], 1)[0]


def test_every_family_has_a_golden_and_every_golden_a_case() -> None:
    families = {golden(case)["config"]["architectures"][0] for case in CASES}
    assert families == set(FAMILIES) - {"LlamaForCausalLM", "TfmExpertsForCausalLM"}
    assert {path.stem for path in GOLDENS.glob("*.json")} == set(CASES)
    assert all(golden(case)["config"] == CASES[case] for case in CASES)


@cases
def test_logits_are_those_of_transformers(case: str, models: dict[str, DecoderLM]) -> None:
    """In one pass, by the definition, in chunks and one by one; beyond windows and lengths before a stretching."""
    model, known = models[case], golden(case)
    ways = {
        "one pass": model(torch.tensor([known["ids"]]))[0], "definition": naive_logits(model, known["ids"]),
        "chunks": in_chunks(model, known["ids"], 7), "one by one": in_chunks(model, known["ids"], 1),
    }  # fmt: skip
    for way, logits in ways.items():
        assert torch.allclose(logits[known["rows"]], torch.tensor(known["logits"]), atol=1e-4, rtol=0), way


@cases
def test_greedy_continuation_is_that_of_transformers(case: str, models: dict[str, DecoderLM]) -> None:
    model, known = models[case], golden(case)
    control = rules(model.config.vocab_size, never=())
    found = complete(model, known["prompt"], greedy(len(known["greedy"])), rules=control, chunk=5)
    assert found.completion == known["greedy"]
    assert found.sequence[: found.cache.length] == [*known["prompt"], *known["greedy"]][: found.cache.length]


@cases
def test_parameters_are_counted_as_the_file_has_them(case: str, models: dict[str, DecoderLM], tmp_path: Path) -> None:
    count = sum(torch.Size(shape).numel() for shape in golden(case)["tensors"].values())
    config = models[case].config
    assert config.n_parameters == count == sum(p.numel() for p in models[case].parameters())
    assert memory_of(config, 64, "float32").weights == 4 * count
    facts = read_facts(written(case, tmp_path / "m"))
    assert (facts.parameters, facts.command, facts.remark) == (count, "tfm run", "")
    assert facts.context == 96


@cases
def test_a_tensor_that_is_missing_or_left_over_is_named(case: str, tmp_path: Path) -> None:
    weights = tensors(case)
    for name in (min(weights), max(weights)):
        rest = {n: t for n, t in weights.items() if n != name}
        with pytest.raises(CheckpointError, match=f"{name} is missing"):
            loaded(written(case, tmp_path / "m", rest))
    with pytest.raises(CheckpointError, match=r"invented\.weight has no place"):
        loaded(written(case, tmp_path / "m", weights | {"invented.weight": torch.zeros(1)}))


@cases
def test_what_is_written_is_read_again_as_it_was(case: str, models: dict[str, DecoderLM], tmp_path: Path) -> None:
    """As the same family, with the same tensors under the same names."""
    model = models[case]
    save_checkpoint(tmp_path / "m", model, dtype=torch.float32)
    stored, known = load_file(tmp_path / "m" / SINGLE), tensors(case)
    assert stored.keys() == known.keys()
    for name, tensor in known.items():
        assert torch.equal(stored[name], tensor), name
    assert load_config(tmp_path / "m") == model.config
    told = json.loads((tmp_path / "m" / "config.json").read_text())
    assert told["architectures"] == golden(case)["config"]["architectures"]


@cases
def test_transformers_reads_what_is_written(case: str, models: dict[str, DecoderLM], tmp_path: Path) -> None:
    """With the logits of all positions: what is installed has not moved away from the goldens either."""
    transformers = pytest.importorskip("transformers")
    save_checkpoint(tmp_path / "m", models[case], dtype=torch.float32)
    theirs, found = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "m", dtype=torch.float32, output_loading_info=True
    )
    assert not any(found[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.tensor([golden(case)["ids"]])
    with torch.no_grad():
        expected = theirs.eval()(ids).logits[0]
    assert torch.allclose(models[case](ids)[0], expected, atol=1e-4, rtol=0)


@cases
def test_a_prefix_from_the_cache_is_as_good_as_one_read_anew(case: str, models: dict[str, DecoderLM]) -> None:
    """A long text, then others that leave it early, in its middle and beyond the window."""
    model = models[case]
    control = rules(model.config.vocab_size, never=())
    prefixes, text = PrefixCache(lambda: KVCache(model.config), 1 << 30), golden(case)["ids"]
    for seed, (shared, new) in enumerate([(0, 60), (50, 3), (15, 5), (18, 30), (46, 12)]):
        prompt = text[:shared] + random_ids(new, seed, model.config.vocab_size)
        taken = prefixes.take(prompt)
        warm = complete(model, prompt, greedy(8), cache=taken, rules=control)
        cold = complete(model, prompt, greedy(8), rules=control)
        assert warm.completion == cold.completion, (shared, new)
        prefixes.put(warm.sequence[: taken.length], taken)


@pytest.mark.parametrize("case", ["gpt2", "bloom"])
def test_files_without_the_prefix_of_their_names_are_read_and_kept(
    case: str, models: dict[str, DecoderLM], tmp_path: Path
) -> None:
    """So the first checkpoints of these families are stored; some hold the causal mask, too."""
    short = {name.removeprefix("transformer."): tensor for name, tensor in tensors(case).items()}
    masks = {"h.0.attn.bias": torch.ones(1, 1, 96, 96)} if case == "gpt2" else {}
    base = written(case, tmp_path / "base", short | masks)
    model = loaded(base)
    for (name, p), q in zip(model.named_parameters(), models[case].parameters(), strict=True):
        assert torch.equal(p, q), name
    save_like(tmp_path / "again", model, base)
    assert load_file(tmp_path / "again" / SINGLE).keys() == short.keys()
    loaded(tmp_path / "again")


def test_a_base_with_fused_matrices_keeps_them_beside_an_adapter(models: dict[str, DecoderLM], tmp_path: Path) -> None:
    model = models["phi3"]
    ends = {target.module.rpartition(".")[2] for target in linear_targets(model)}
    assert ends == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}
    save_like(tmp_path / "again", model, written("phi3", tmp_path / "base"))
    assert load_file(tmp_path / "again" / SINGLE).keys() == tensors("phi3").keys()
    with pytest.raises(CheckpointError, match="query_key_value"):
        list(linear_targets(models["gpt-neox"]))


def test_a_text_that_grows_beyond_its_first_angles_is_read_anew(models: dict[str, DecoderLM]) -> None:
    model, ids = models["phi3-longrope"], golden("phi3-longrope")["ids"]
    unprepared = KVCache(model.config)
    model(torch.tensor([ids[:20]]), unprepared)
    with pytest.raises(ValueError, match=r"beyond 24 positions.*prepare\(25\)"):
        model(torch.tensor([ids[20:25]]), unprepared)
    unprepared.prepare(25)
    assert unprepared.length == 0
    prompt, control = ids[:22], rules(model.config.vocab_size, never=())
    answer = complete(model, prompt, greedy(6), rules=control, chunk=8)
    assert answer.splits == [8, 8, 6, 8, 8, 8, 1]  # at its third token all is read again


def test_a_damaged_matrix_of_another_shape_is_named(tmp_path: Path) -> None:
    for case, name in (
        ("gpt2", "transformer.h.0.attn.c_attn.weight"),
        ("bloom", "transformer.h.1.self_attention.query_key_value.bias"),
    ):  # fmt: skip
        for tensor in (torch.zeros(5), torch.zeros(6, 12), torch.zeros(()), torch.zeros(3, 3, 3)):
            with pytest.raises(CheckpointError, match=f"{name} has the shape"):
                loaded(written(case, tmp_path / "m", tensors(case) | {name: tensor}))
        shutil.rmtree(tmp_path / "m")
