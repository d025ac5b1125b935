"""Adapters: merged as PEFT means them, refused by name when they are not understood or do not belong to the base."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import KINDS, TINY, random_ids, tiny_model

from engine.adapter import (
    CONFIG,
    PREFIX,
    WEIGHTS,
    AdapterConfig,
    apply_adapter,
    chosen_targets,
    linear_targets,
    merge_into,
    read_adapter_config,
    save_adapter,
)
from engine.api import Engine, load_engine
from engine.checkpoint import INDEX, SINGLE, load_config, load_model, save_checkpoint
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import CheckpointError

IDS = torch.tensor([random_ids(24)])
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Make = Callable[..., Path]


def saved(directory: Path, model: DecoderLM, config: AdapterConfig = AdapterConfig(4, 8)) -> Path:
    """An adapter of random A and B for the targets of the config."""
    generator = torch.Generator().manual_seed(3)
    pairs = {}
    for target in chosen_targets(model, config.targets):
        rank = config.rank_of(target.module)
        a = torch.randn(rank, target.d_in, generator=generator) / target.d_in**0.5
        pairs[target.module] = (a, 0.1 * torch.randn(target.stop - target.start, rank, generator=generator))
    save_adapter(directory, pairs, config, "the base")
    return directory


def edit(directory: Path, **changes: Any) -> Path:
    """Change keys of an adapter_config.json; ... removes one."""
    told = json.loads((directory / CONFIG).read_text()) | changes
    (directory / CONFIG).write_text(json.dumps({k: v for k, v in told.items() if v is not ...}))
    return directory


def edit_tensors(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    tensors = load_file(directory / WEIGHTS)
    change(tensors)
    save_file(tensors, directory / WEIGHTS)
    return directory


def stored(model: DecoderLM, directory: Path) -> dict[str, torch.Tensor]:
    """The tensors of a model by Hugging Face's names."""
    save_checkpoint(directory, model, dtype=torch.float32)
    return load_file(directory / SINGLE)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter of all targets of TINY, of rank 4 and alpha 8."""
    return saved(tmp_path / "adapter", tiny_model())


# What a merge is.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targets", [None, ("q_proj", "v_proj"), ("k_proj", "up_proj"), ("layers.1.mlp.down_proj",)])
def test_each_target_becomes_w_plus_scale_b_a_and_nothing_else_changes(
    kind: str, targets: tuple[str, ...] | None, tmp_path: Path
) -> None:
    """Fused matrices, grouped heads, biases: compared under Hugging Face's names, where each target is a tensor."""
    model = tiny_model(KINDS[kind])
    saved(tmp_path / "adapter", model, AdapterConfig(4, 8, targets))
    before = stored(model, tmp_path / "before")
    apply_adapter(model, tmp_path / "adapter")
    after = stored(model, tmp_path / "after")
    low = load_file(tmp_path / "adapter" / WEIGHTS)
    for name, tensor in before.items():
        stem = PREFIX + name.removesuffix(".weight")
        if f"{stem}.lora_A.weight" in low:
            tensor = tensor + 2.0 * (low[f"{stem}.lora_B.weight"] @ low[f"{stem}.lora_A.weight"])
            assert not torch.equal(after[name], before[name])
        assert torch.equal(after[name], tensor), name
    ends = targets or ALL
    assert {n.split(".lora_")[0] for n in low} == {
        PREFIX + n.removesuffix(".weight") for n in before if n.removesuffix(".weight").endswith(ends)
    }


@pytest.mark.parametrize("kind", ["gqa tied", "mqa biases", "mha untied"])
def test_logits_are_those_of_transformers_with_the_product_added(kind: str, tmp_path: Path) -> None:
    """Q4, L5"""
    transformers = pytest.importorskip("transformers")
    model = tiny_model(KINDS[kind])
    save_checkpoint(tmp_path / "base", model, dtype=torch.float32)
    saved(tmp_path / "adapter", model)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32).eval()
    low = load_file(tmp_path / "adapter" / WEIGHTS)
    with torch.no_grad():
        for module in {n.removeprefix(PREFIX).split(".lora_")[0] for n in low}:
            a, b = (low[f"{PREFIX}{module}.lora_{x}.weight"] for x in "AB")
            theirs.get_submodule(module).weight += 2.0 * b @ a
        base = model(IDS)
        apply_adapter(model, tmp_path / "adapter")
        assert torch.allclose(model(IDS), theirs(IDS).logits, atol=1e-4, rtol=0)
        assert (model(IDS) - base).abs().max() > 0.1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["gqa tied", "mqa biases", "mha untied"])
@pytest.mark.parametrize(
    "config",
    [
        AdapterConfig(4, 8),
        AdapterConfig(4, 8, ("q_proj", "down_proj"), rslora=True),
        AdapterConfig(4, 8, ranks={"k_proj": 2, "layers.1.mlp.up_proj": 1}, alphas={"v_proj": 3.0}),
    ],
    ids=["all", "some rslora", "patterns"],
)
def test_peft_reads_what_is_written_here_with_equal_logits(kind: str, config: AdapterConfig, tmp_path: Path) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    model = tiny_model(KINDS[kind])
    save_checkpoint(tmp_path / "base", model, dtype=torch.float32)
    saved(tmp_path / "adapter", model, config)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32).eval()
    adapted = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    apply_adapter(model, tmp_path / "adapter")
    with torch.no_grad():
        assert torch.allclose(model(IDS), adapted(IDS).logits, atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], ["model.layers.1.self_attn.k_proj"]])
@pytest.mark.parametrize("rslora", [True, False])
def test_what_peft_writes_is_read_here_with_equal_logits(targets: Any, rslora: bool, tmp_path: Path) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    model = tiny_model()
    save_checkpoint(tmp_path / "base", model, dtype=torch.float32)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=targets, use_rslora=rslora, task_type="CAUSAL_LM", init_lora_weights=False
    )
    adapted = peft.get_peft_model(theirs, config).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    base = model(IDS)
    apply_adapter(model, tmp_path / "adapter")
    with torch.no_grad():
        assert torch.allclose(model(IDS), adapted(IDS).logits, atol=1e-4, rtol=0)
    assert (model(IDS) - base).abs().max() > 0.01


def test_the_scale_is_alpha_over_the_rank_or_its_root_and_patterns_name_the_ends_of_modules() -> None:
    config = AdapterConfig(4, 8, ranks={"k_proj": 16, "layers.1.mlp.up_proj": 1}, alphas={"v_proj": 3})
    q, k, v = (f"model.layers.0.self_attn.{x}_proj" for x in "qkv")
    assert [config.rank_of(m) for m in (q, k, v)] == [4, 16, 4]
    assert [config.scale_of(m) for m in (q, k, v)] == [2.0, 0.5, 0.75]
    assert (config.rank_of("model.layers.1.mlp.up_proj"), config.rank_of("model.layers.11.mlp.up_proj")) == (1, 4)
    assert [replace(config, rslora=True).scale_of(m) for m in (q, k, v)] == [4.0, 2.0, 1.5]


def test_rslora_and_patterns_decide_the_weights(tmp_path: Path) -> None:
    model = tiny_model()
    config = AdapterConfig(4, 8, rslora=True, ranks={"k_proj": 2}, alphas={"down_proj": 5.0})
    saved(tmp_path / "adapter", model, config)
    assert read_adapter_config(tmp_path / "adapter") == replace(config, targets=tuple(sorted(ALL)))
    before = model.blocks[1].mlp.down.weight.clone()
    low = load_file(tmp_path / "adapter" / WEIGHTS)
    apply_adapter(model, tmp_path / "adapter")
    stem = f"{PREFIX}model.layers.1.mlp.down_proj.lora_"
    wanted = before + 2.5 * (low[f"{stem}B.weight"] @ low[f"{stem}A.weight"])
    assert torch.equal(model.blocks[1].mlp.down.weight, wanted)
    assert low[f"{PREFIX}model.layers.0.self_attn.k_proj.lora_A.weight"].shape == (2, TINY.d_model)


def test_bfloat16_weights_are_added_to_in_float32_and_rounded_once(adapter: Path) -> None:
    model, exact = tiny_model(dtype=torch.bfloat16), tiny_model(dtype=torch.bfloat16).float()
    apply_adapter(model, adapter)
    apply_adapter(exact, adapter)
    for one, other in zip(model.parameters(), exact.parameters(), strict=True):
        assert one.dtype == torch.bfloat16 and torch.equal(one, other.bfloat16())


def test_tensors_in_half_precision_are_read(adapter: Path) -> None:
    edit_tensors(adapter, lambda t: t.update({n: x.half() for n, x in t.items()}))
    low = load_file(adapter / WEIGHTS)
    model = tiny_model()
    before = model.blocks[0].attention.out.weight.clone()
    apply_adapter(model, adapter)
    stem = f"{PREFIX}model.layers.0.self_attn.o_proj.lora_"
    wanted = before + 2.0 * (low[f"{stem}B.weight"].float() @ low[f"{stem}A.weight"].float())
    assert torch.equal(model.blocks[0].attention.out.weight, wanted)


def test_all_linear_and_whole_names_mean_the_projections(adapter: Path) -> None:
    listed, worded, named = tiny_model(), tiny_model(), tiny_model()
    apply_adapter(listed, adapter)
    apply_adapter(worded, edit(adapter, target_modules="all-linear"))
    apply_adapter(named, edit(adapter, target_modules=[t.module for t in linear_targets(named)]))
    assert all(map(torch.equal, listed.parameters(), worded.parameters()))
    assert all(map(torch.equal, listed.parameters(), named.parameters()))


def test_an_adapter_of_zero_b_changes_no_bit(adapter: Path) -> None:
    edit_tensors(adapter, lambda t: t.update({n: torch.zeros_like(x) for n, x in t.items() if "lora_B" in n}))
    model = tiny_model()
    apply_adapter(model, adapter)
    assert all(map(torch.equal, model.parameters(), tiny_model().parameters()))


# What is refused.


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"use_dora": True}, "use_dora = True is not supported"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ({"layers_to_transform": 0}, "layers_to_transform = 0"),
    ({"layers_to_transform": [0]}, "layers_to_transform"),
    ({"trainable_token_indices": [3]}, "trainable_token_indices"),
    ({"exclude_modules": "x"}, "exclude_modules"),
    ({"fan_in_fan_out": True}, "fan_in_fan_out"),
    ({"lora_bias": True}, "lora_bias"),
    ({"bias": "all"}, "bias = 'all' is not supported; 'none' is"),
    ({"peft_type": "IA3"}, "peft_type = 'IA3'"),
    ({"peft_type": ...}, "peft_type is missing"),
    ({"task_type": "SEQ_CLS"}, "task_type = 'SEQ_CLS'"),
    ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
    ({"something_new": {"a": 1}}, "something_new"),
    ({"r": ...}, "r is missing"),
    ({"r": 0}, "r must be a whole number"),
    ({"r": True}, "r must be a whole number"),
    ({"r": "4"}, "r must be a whole number"),
    ({"lora_alpha": "8"}, "lora_alpha must be a number"),
    ({"lora_alpha": float("nan")}, "lora_alpha must be a number"),
    ({"target_modules": ...}, "target_modules is missing"),
    ({"target_modules": []}, "target_modules must be a list"),
    ({"target_modules": ".*proj"}, "target_modules must be a list"),
    ({"target_modules": [1]}, "target_modules must be a list"),
    ({"target_modules": ["qq_proj"]}, "'qq_proj' is no projection"),
    ({"target_modules": ["lm_head"]}, "'lm_head' is no projection"),
    ({"target_modules": ["embed_tokens"]}, "'embed_tokens' is no projection"),
    ({"target_modules": ["proj"]}, "'proj' is no projection"),
    ({"rank_pattern": {"(a+)+": 4}}, "is no name of a module"),
    ({"rank_pattern": {"q_proj": 0}}, "rank_pattern q_proj"),
    ({"rank_pattern": [1]}, "must be objects"),
    ({"alpha_pattern": {"q_proj": None}}, "alpha_pattern q_proj"),
    ({"use_rslora": "yes"}, "use_rslora must be true or false"),
    ({"r": 5}, r"\[4, 32\]; this base and rank ask for \[5, 32\]"),
    ({"rank_pattern": {"q_proj": 2}}, r"q_proj.lora_A.weight has the shape \[4, 32\]"),
    ({"target_modules": ["q_proj"]}, "has no place in this model"),
]


@pytest.mark.parametrize(("changes", "told"), REFUSED, ids=[str(c)[1:40] for c, _ in REFUSED])
def test_what_is_not_understood_is_an_error_that_names_it_and_changes_nothing(
    changes: dict[str, Any], told: str, adapter: Path
) -> None:
    model = tiny_model()
    with pytest.raises(CheckpointError, match=told):
        apply_adapter(model, edit(adapter, **changes))
    assert all(map(torch.equal, model.parameters(), tiny_model().parameters()))


K_PROJ = f"{PREFIX}model.layers.1.self_attn.k_proj.lora_A.weight"
DAMAGED: list[tuple[Callable[[dict[str, torch.Tensor]], object], str]] = [
    (lambda t: t.pop(K_PROJ), f"the tensor {K_PROJ} is missing"),
    (lambda t: t.update(extra=torch.zeros(1)), "the tensor extra has no place"),
    (lambda t: t.update({K_PROJ: t[K_PROJ].T.contiguous()}), r"has the shape \[32, 4\]"),
    (lambda t: t.update({K_PROJ: t[K_PROJ].to(torch.int8)}), "is stored as I8"),
    (lambda t: t.update({K_PROJ: t[K_PROJ][:, :31].contiguous()}), r"has the shape \[4, 31\]"),
]


@pytest.mark.parametrize(("change", "told"), DAMAGED, ids=["missing", "spare", "turned", "whole numbers", "narrow"])
def test_a_tensor_that_does_not_fit_is_named_and_nothing_is_changed(
    change: Callable[[dict[str, torch.Tensor]], object], told: str, adapter: Path
) -> None:
    model = tiny_model()
    with pytest.raises(CheckpointError, match=told):
        apply_adapter(model, edit_tensors(adapter, change))
    assert all(map(torch.equal, model.parameters(), tiny_model().parameters()))


@pytest.mark.parametrize(
    "base",
    [replace(TINY, d_model=16), replace(TINY, n_kv_heads=4), replace(TINY, n_layers=1), replace(TINY, n_layers=3)],
    ids=["narrower", "more heads", "shallower", "deeper"],
)
def test_an_adapter_of_another_base_is_refused(base: ModelConfig, adapter: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has the shape|is missing|has no place"):
        apply_adapter(tiny_model(base), adapter)


def test_a_pickle_is_never_read(adapter: Path) -> None:
    """X7"""
    (adapter / WEIGHTS).rename(adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"There is no adapter_model.safetensors.*is a pickle"):
        apply_adapter(tiny_model(), adapter)


def test_files_that_are_missing_or_damaged_are_named(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no adapter directory .*nowhere"):
        read_adapter_config(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no adapter_config.json in"):
        read_adapter_config(tmp_path)
    (adapter / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated or no safetensors"):
        apply_adapter(tiny_model(), adapter)
    (adapter / CONFIG).write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_adapter_config(adapter)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = ("peft_type", "r", "lora_alpha", "target_modules", "bias", "use_rslora", "rank_pattern", "alpha_pattern",
        "lora_dropout", "init_lora_weights", "task_type", "use_dora")  # fmt: skip


@given(st.sampled_from(KEYS), JSON)
def test_no_value_of_a_config_gives_another_error(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
) -> None:
    directory = tmp_path_factory.getbasetemp() / "fuzz"
    directory.mkdir(exist_ok=True)
    told = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]} | {key: value}
    (directory / CONFIG).write_text(json.dumps(told))
    try:
        config = read_adapter_config(directory)
    except CheckpointError:
        return
    chosen = config.targets if config.targets == ("q_proj",) else None
    assert all(config.scale_of(t.module) is not None for t in chosen_targets(tiny_model(), chosen))


# Through the engine, and written anew.


def test_an_engine_with_an_adapter_is_the_merged_model_and_says_so(
    engine_dir: Path, engine: Engine, tmp_path: Path
) -> None:
    saved(tmp_path / "adapter", engine.model)
    adapted = load_engine(engine_dir, dtype="float32", adapter=tmp_path / "adapter")
    ids = random_ids(20)
    base = engine.logits(ids)
    apply_adapter(engine.model, tmp_path / "adapter")
    assert torch.equal(adapted.logits(ids), engine.logits(ids))
    assert (adapted.logits(ids) - base).abs().max() > 0.1
    assert (adapted.info.adapter, engine.info.adapter) == (str(tmp_path / "adapter"), "")
    with pytest.raises(CheckpointError, match="no adapter directory"):
        load_engine(engine_dir, adapter=tmp_path / "none")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shard_bytes", [1 << 30, 10_000])
def test_a_merged_directory_is_its_base_with_the_adapter_in_the_same_dtype(
    dtype: torch.dtype, shard_bytes: int, tmp_path: Path
) -> None:
    base, merged = tmp_path / "base", tmp_path / "merged"
    model = tiny_model(KINDS["mqa biases"])
    save_checkpoint(base, model, dtype=dtype, shard_bytes=shard_bytes, generation={"temperature": 0.5})
    for name in ("tokenizer.model", "tokenizer_config.json", "chat_template.jinja", "LICENSE", "README.md"):
        (base / name).write_text(name)
    saved(tmp_path / "adapter", model)
    files = {p.name: p.read_bytes() for p in base.iterdir()}
    merge_into(base, tmp_path / "adapter", merged)
    assert {p.name: p.read_bytes() for p in base.iterdir()} == files
    wanted = load_model(base, load_config(base), dtype, torch.device("cpu"))
    apply_adapter(wanted, tmp_path / "adapter")
    found = load_model(merged, load_config(merged), dtype, torch.device("cpu"))
    assert all(map(torch.equal, wanted.parameters(), found.parameters()))
    assert {t.dtype for f in merged.glob("*.safetensors") for t in load_file(f).values()} == {dtype}
    kept = {name for name in files if not name.endswith(".safetensors") and name not in (INDEX, "README.md")}
    assert kept | {SINGLE} == {p.name for p in merged.iterdir()}
    assert all((merged / name).read_bytes() == files[name] for name in kept)


def test_a_tensor_keeps_the_dtype_that_the_base_stores_it_in(tmp_path: Path) -> None:
    base = tmp_path / "base"
    save_checkpoint(base, tiny_model(), dtype=torch.bfloat16)
    tensors = load_file(base / SINGLE)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].float()
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()  # tied, and stored all the same
    save_file(tensors, base / SINGLE, {"format": "pt"})
    saved(tmp_path / "adapter", tiny_model())
    merge_into(base, tmp_path / "adapter", tmp_path / "merged")
    merged = load_file(tmp_path / "merged" / SINGLE)
    assert {n: t.dtype for n, t in merged.items()} == {n: t.dtype for n, t in tensors.items() if n != "lm_head.weight"}


def test_a_merge_that_is_refused_writes_nothing(adapter: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "base", tiny_model(replace(TINY, d_model=16)))
    with pytest.raises(CheckpointError, match="has the shape"):
        merge_into(tmp_path / "base", adapter, tmp_path / "merged")
    assert {p.name for p in tmp_path.iterdir()} == {"base", "adapter"}
