"""Checkpoint directories: what is written is read back, by us and by transformers; what is damaged is named."""

import json
import math
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import KINDS, TINY, random_ids, tiny_model

from engine.api import load_engine
from engine.checkpoint import INDEX, SINGLE, load_config, load_model, save_checkpoint
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import CheckpointError, TokenizerError
from engine.families import placements
from engine.family_rows import LLAMA
from engine.recommended import sampling_defaults
from engine.template import TFM

CPU = torch.device("cpu")
SHAPES = {
    "tied": TINY,
    "untied": replace(TINY, tie_embeddings=False),
    "biases": replace(TINY, attention_bias=True, mlp_bias=True),
    "untied biases wide": replace(TINY, tie_embeddings=False, attention_bias=True, mlp_bias=True, head_dim=16),
}


def load(directory: Path, dtype: torch.dtype = torch.float32) -> DecoderLM:
    return load_model(directory, load_config(directory), dtype, CPU)


def saved(directory: Path, config: ModelConfig = TINY, **options: Any) -> DecoderLM:
    """A model of random weights, and its checkpoint in the directory."""
    model = tiny_model(config, seed=4)
    save_checkpoint(directory, model, **({"dtype": torch.float32} | options))
    return model


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file, or the tensors of a safetensors file, in place."""
    if path.suffix == ".json":
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))
    else:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, {"format": "pt"})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A checkpoint in one file."""
    saved(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    saved(tmp_path / "model", shard_bytes=10_000)
    return tmp_path / "model"


# Round trips.


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shard_bytes", [1 << 30, 20_000, 1])
def test_a_saved_model_is_loaded_as_it_was(shape: str, shard_bytes: int, tmp_path: Path) -> None:
    """L1, L2: single and sharded, tied and untied, with and without biases; names as in the written list."""
    model = saved(tmp_path / "model", SHAPES[shape], shard_bytes=shard_bytes)
    assert load_config(tmp_path / "model") == model.config
    loaded = load(tmp_path / "model")
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    files = sorted((tmp_path / "model").glob("*.safetensors"))
    stored = [name for f in files for name in load_file(f)]
    assert sorted(stored) == sorted(p.theirs for p in placements(LLAMA, model.config))
    assert (len(files) == 1) == (shard_bytes == 1 << 30) and (tmp_path / "model" / INDEX).exists() == (len(files) > 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_position_survives_a_round_trip(kind: str, tmp_path: Path) -> None:
    model = saved(tmp_path / "model", KINDS[kind])
    ids = torch.tensor([random_ids(40)])
    assert load_config(tmp_path / "model") == model.config
    assert torch.equal(load(tmp_path / "model")(ids), model(ids))


def test_a_shard_is_no_larger_than_asked_for(tmp_path: Path) -> None:
    saved(tmp_path / "model", shard_bytes=20_000)
    index = json.loads((tmp_path / "model" / INDEX).read_text())
    sizes = {f.name: sum(t.nbytes for t in load_file(f).values()) for f in (tmp_path / "model").glob("*.safetensors")}
    assert set(index["weight_map"].values()) == set(sizes) and index["metadata"]["total_size"] == sum(sizes.values())
    assert all(size <= 20_000 for size in sizes.values())


def test_dtypes_are_converted_while_loading(tmp_path: Path) -> None:
    model = saved(tmp_path / "model", dtype=torch.bfloat16)
    wide, narrow = load(tmp_path / "model"), load(tmp_path / "model", torch.bfloat16)
    for name, tensor in model.state_dict().items():
        assert torch.equal(wide.state_dict()[name], tensor.bfloat16().float())
        assert torch.equal(narrow.state_dict()[name], tensor.bfloat16())
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_floating_point_weights_are_converted(dtype: torch.dtype, directory: Path) -> None:
    edit(directory / SINGLE, lambda t: t.update({k: v.to(dtype) for k, v in t.items()}))
    assert load(directory).embedding.weight.dtype == torch.float32


def test_saving_again_replaces_the_old_directory_whole(tmp_path: Path) -> None:
    """D3: no file of the old one stays, no half-written one either."""
    saved(tmp_path / "model", shard_bytes=1)
    saved(tmp_path / "model")
    assert {f.name for f in (tmp_path / "model").iterdir()} == {"config.json", "generation_config.json", SINGLE}
    assert [f.name for f in tmp_path.iterdir()] == ["model"]


def test_a_save_that_fails_leaves_the_old_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D3"""
    before = {f.name: f.read_bytes() for f in directory.iterdir()}

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("engine.checkpoint.save_file", full)
    with pytest.raises(CheckpointError, match="model cannot be written: no space"):
        saved(directory, replace(TINY, n_layers=1))
    assert {f.name: f.read_bytes() for f in directory.iterdir()} == before


@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_loads_it_with_equal_logits(shape: str, tmp_path: Path) -> None:
    """L1, L5"""
    transformers = pytest.importorskip("transformers")
    model = saved(tmp_path / "model", SHAPES[shape], shard_bytes=20_000 if shape == "untied" else 1 << 30)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    ids = torch.tensor([random_ids(40)])
    with torch.no_grad():
        assert torch.allclose(model(ids), theirs(ids).logits, atol=1e-4, rtol=0)


def test_what_transformers_saves_is_loaded_with_equal_logits(tmp_path: Path) -> None:
    """L1, L5"""
    transformers = pytest.importorskip("transformers")
    for number, options in enumerate(
        ({"tie_word_embeddings": True}, {"rope_parameters": {"rope_type": "linear", "rope_theta": 50.0, "factor": 2.0}})
    ):
        config = transformers.LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, **options,
        )  # fmt: skip
        theirs = transformers.LlamaForCausalLM(config).eval()
        theirs.save_pretrained(tmp_path / str(number), max_shard_size="10KB")
        ids = torch.tensor([random_ids(40)])
        with torch.no_grad():
            assert torch.allclose(load(tmp_path / str(number))(ids), theirs(ids).logits, atol=1e-4, rtol=0)


# Damage, by name.


@pytest.mark.parametrize("name", [p.theirs for p in placements(LLAMA, SHAPES["untied biases wide"])])
def test_each_tensor_that_is_missing_or_of_another_shape_is_named(name: str, tmp_path: Path) -> None:
    """L1: never filled at random."""
    saved(tmp_path / "model", SHAPES["untied biases wide"])
    path = tmp_path / "model" / SINGLE
    whole = path.read_bytes()
    edit(path, lambda t: t.pop(name))
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        load(tmp_path / "model")
    for wrong in (lambda t: t[:-1], lambda t: torch.cat([t, t]), lambda t: t[None], lambda t: t.reshape(-1)[:1]):
        path.write_bytes(whole)
        edit(path, lambda t, wrong=wrong: t.update({name: wrong(t[name]).contiguous()}))  # type: ignore[misc]
        with pytest.raises(CheckpointError, match=rf"{name} has the shape \[.*the config asks for \["):
            load(tmp_path / "model")


def test_a_tensor_without_a_place_is_named(directory: Path) -> None:
    edit(directory / SINGLE, lambda t: t.update({"model.layers.0.self_attn.q_norm.weight": torch.ones(8)}))
    with pytest.raises(CheckpointError, match=r"q_norm\.weight has no place"):
        load(directory)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module."])
def test_a_checkpoint_under_other_names_is_refused_by_name(prefix: str, directory: Path) -> None:
    """L2: what a compiled module would have saved; ours never has the prefix."""
    edit(directory / SINGLE, lambda t: [t.update({prefix + k: t.pop(k)}) for k in list(t)])
    with pytest.raises(CheckpointError, match="is missing"):
        load(directory)


def test_what_changes_nothing_may_be_stored_too(directory: Path) -> None:
    """A tied head, and the angles that old checkpoints keep."""
    expected = load(directory).state_dict()
    edit(
        directory / SINGLE,
        lambda t: t.update(
            {
                "lm_head.weight": t["model.embed_tokens.weight"].clone(),
                "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
            }
        ),
    )
    assert all(torch.equal(t, expected[n]) for n, t in load(directory).state_dict().items())


def test_an_untied_head_is_never_taken_from_the_embedding(directory: Path) -> None:
    """L1"""
    edit(directory / "config.json", lambda c: c.update(tie_word_embeddings=False))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight is missing"):
        load(directory)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_integer_weights_are_refused_by_name(dtype: torch.dtype, directory: Path) -> None:
    """Q: quantised numbers without their scales would be garbage."""
    edit(directory / SINGLE, lambda t: t.update({"model.norm.weight": torch.ones(32, dtype=dtype)}))
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight is stored as torch\.\w+"):
        load(directory)


def test_a_file_cut_anywhere_is_named(directory: Path) -> None:
    """Truncated at some hundred lengths, within the header and behind it."""
    path = directory / SINGLE
    data = path.read_bytes()
    for length in [*range(20), *range(20, len(data), len(data) // 150), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors is truncated or no safetensors file"):
            load(directory)


def test_garbage_in_the_header_is_an_error_and_never_a_crash(directory: Path) -> None:
    """X8, X9: counts, lengths and offsets are not believed."""
    path = directory / SINGLE
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    name = "model.norm.weight"

    def build(head: Any, length: int | None = None) -> bytes:
        text = head if isinstance(head, bytes) else json.dumps(head).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + body

    bad = [
        b"",
        b"\x00" * 8,
        b"\xff" * 8,
        b"PK\x03\x04" + data,
        b"GGUF" + data,
        build(b"{"),
        build(b"[]"),
        build(b"null"),
        build({}),
        *(build(header, n) for n in (0, 1, size - 1, size + 1, 2**31, 2**63, 2**64 - 1)),
        *(
            build(header | {name: header[name] | {"data_offsets": o}})
            for o in ([0, 0], [-1, 5], [5, 1], [0, 2**63], [2**64 - 1, 2**64 - 1])
        ),
        *(
            build(header | {name: header[name] | {"shape": s}})
            for s in ([], [0], [33], [2**63], [2**32, 2**32], [-32], "x", [1.5])
        ),
        *(build(header | {name: header[name] | {"dtype": d}}) for d in ("F16", "X9", "", 5)),
    ]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            load(directory)


@pytest.mark.parametrize(
    "shard", ["../x.safetensors", "/etc/hostname", "a/b.safetensors", "..", ".", "", 5, None, ["a"], {"a": 1}, "..\\x"]
)
def test_an_index_names_files_of_its_directory_only(shard: Any, sharded: Path) -> None:
    """X7"""
    (sharded.parent / "x.safetensors").write_bytes(b"outside")
    edit(sharded / INDEX, lambda i: i["weight_map"].update({"model.norm.weight": shard}))
    with pytest.raises(CheckpointError, match=r"no file name in the directory|is not in"):
        load(sharded)


def test_a_shard_that_is_missing_is_named(sharded: Path) -> None:
    missing = sorted(sharded.glob("*.safetensors"))[1]
    missing.unlink()
    with pytest.raises(CheckpointError, match=missing.name):
        load(sharded)


def test_a_shard_without_the_tensor_that_the_index_promises_is_named(sharded: Path) -> None:
    weight_map = json.loads((sharded / INDEX).read_text())["weight_map"]
    other = next(f for f in weight_map.values() if f != weight_map["model.norm.weight"])
    edit(sharded / INDEX, lambda i: i["weight_map"].update({"model.norm.weight": other}))
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight is not in .*, where the index says"):
        load(sharded)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "\x00", "[" * 100_000]
)
def test_a_damaged_index_is_an_error_by_name(content: str, sharded: Path) -> None:
    (sharded / INDEX).write_text(content)
    with pytest.raises(CheckpointError, match=r"index\.json|is missing"):
        load(sharded)


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "[" * 100_000, b"\xff\xfe", '{"vocab_size": 64}'])
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_a_damaged_configuration_is_named(content: str | bytes, file: str, directory: Path) -> None:
    (directory / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    if (file, content) == ("generation_config.json", '{"vocab_size": 64}'):
        load(directory)  # says nothing about ends or sampling
        return
    with pytest.raises(CheckpointError, match=file):
        load(directory)


def test_what_is_not_there_is_named(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(CheckpointError, match="no model directory"):
        load_engine(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no model directory"):
        load_engine(directory / "config.json")
    (directory / SINGLE).unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load(directory)
    (directory / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load(directory)


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 3},
        {"hidden_size": 2**40},
        {"vocab_size": 2**62},
        {"vocab_size": 10**30},
        {"intermediate_size": 2**50},
        {"num_attention_heads": 10**6, "num_key_value_heads": 10**6, "head_dim": 8},
        {"head_dim": 2**30},
    ],
)
def test_sizes_that_the_weights_do_not_have_end_at_once_and_by_name(sizes: dict[str, int], directory: Path) -> None:
    """X8: no loop over a thousand million layers, no memory for what is not there."""
    edit(directory / "config.json", lambda c: c.update(sizes))
    with pytest.raises(CheckpointError, match=r"is missing|has the shape|no memory"):
        load(directory)


def test_nothing_in_the_directory_is_executed(directory: Path, tmp_path: Path) -> None:
    """X7: pickles, code and a hostile Jinja template lie there; none of them runs, or is even opened as code."""
    trap = tmp_path / "sprung"

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (trap,))

    for name in ("pytorch_model.bin", "model.pt", "consolidated.00.pth", "optimizer.pt"):
        (directory / name).write_bytes(pickle.dumps(Bomb()))
    for name in ("modeling_llama.py", "__init__.py", "tokenization.py", "conftest.py"):
        (directory / name).write_text(f"open({str(trap)!r}, 'w')")
    load(directory)
    assert not trap.exists()
    (directory / SINGLE).unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load(directory)
    (directory / SINGLE).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load(directory)
    assert not trap.exists()


@pytest.mark.parametrize(
    "jinja",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for i in range(10**12) %}{% endfor %}",
        "{{ cycler.__init__.__globals__.os.system('x') }}",
        "{% include '/etc/passwd' %}",
        "{{ 'a' * 10**12 }}",
    ],
)
def test_a_hostile_template_is_not_run(jinja: str, engine_dir: Path, tmp_path: Path) -> None:
    """X7: it fails in the sandbox, is told why it is not used, and nothing else happens."""
    copied = tmp_path / "model"
    shutil.copytree(engine_dir, copied)
    edit(copied / "tokenizer_config.json", lambda c: c.update(chat_template=jinja))
    engine = load_engine(copied, dtype="float32")
    assert engine.template is None and engine.info.template == "none" and "Jinja" in engine.info.template_source


# Ends, tokenizers, defaults.


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        (2, None, {2}),
        ([2], [3], {2, 3}),
        (None, 5, {5}),
        (2, [2, 7], {2, 7}),
        ([0], None, {0}),
        (None, None, set()),
        ([2, 3], 4, {2, 3, 4}),
    ],
)
def test_end_tokens_are_the_union_of_both_files(config: Any, generation: Any, ends: set[int], directory: Path) -> None:
    """P5, S11"""
    edit(directory / "config.json", lambda c: c.update(eos_token_id=config))
    edit(directory / "generation_config.json", lambda c: c.update(eos_token_id=generation))
    assert set(load_config(directory).eos_ids) == ends
    (directory / "generation_config.json").unlink()
    assert set(load_config(directory).eos_ids) == set(
        config if isinstance(config, list) else [] if config is None else [config]
    )


@pytest.mark.parametrize("eos", [64, -1, "2", [[2]], {"a": 1}, 2.5])
def test_an_end_token_that_is_none_is_refused(eos: Any, directory: Path) -> None:
    edit(directory / "generation_config.json", lambda c: c.update(eos_token_id=eos))
    with pytest.raises(CheckpointError, match="eos"):
        load_config(directory)


def test_a_tokenizer_larger_than_the_embedding_is_refused_with_both_numbers(
    tokenizer_path: Path, tmp_path: Path
) -> None:
    """L3: and a smaller one is normal."""
    for rows in (399, 400, 401, 512):
        path = tmp_path / str(rows)
        save_checkpoint(path, tiny_model(replace(TINY, vocab_size=rows)), tokenizer_path=tokenizer_path, template=TFM)
        if rows < 400:
            with pytest.raises(TokenizerError, match=r"400 pieces .* 399 rows"):
                load_engine(path, dtype="float32")
        else:
            assert load_engine(path, dtype="float32").config.vocab_size == rows


def test_sampling_defaults_are_those_of_the_file() -> None:
    given = {
        "temperature": 0.6,
        "top_k": 50,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "do_sample": True,
        "bos_token_id": 1,
        "pad_token_id": 0,
        "max_length": 99,
        "top_h": None,
        "min_p": None,
    }
    assert sampling_defaults(given) == {"temperature": 0.6, "top_k": 50, "top_p": 0.9, "repetition_penalty": 1.1}
    assert sampling_defaults({}) == {}
    assert sampling_defaults({"do_sample": False, "temperature": 0.6, "top_p": 0.9}) == {"greedy": True}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", -1),
        ("temperature", "hot"),
        ("top_p", 1.5),
        ("top_p", math.nan),
        ("top_k", 1.5),
        ("top_k", "many"),
        ("top_p", [0.9]),
        ("max_new_tokens", {}),
    ],
)
def test_sampling_defaults_without_meaning_are_the_models_fault_and_named(key: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=f"generation_config.json.*--{key.replace('_', '-')}"):
        sampling_defaults({key: value})


# Memory.

PEAK = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from engine.checkpoint import load_config, load_model

def status(name):
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith(name))

dtype, warm, *directories = sys.argv[1:]
dtype = getattr(torch, dtype)
load_model(Path(warm), load_config(Path(warm)), dtype, torch.device("cpu"))  # what loading imports is not the model
for directory in map(Path, directories):
    config = load_config(directory)
    open("/proc/self/clear_refs", "w").write("5")  # the peak is counted from here
    before = status("VmRSS")
    model = load_model(directory, config, dtype, torch.device("cpu"))
    print(status("VmHWM") - before, sum(p.nbytes for p in model.parameters()))
    del model
"""


def peaks_of_loading(directories: list[Path], warm: Path, dtype: str) -> list[tuple[int, int]]:
    """(bytes by which the peak of a process rises while it loads, bytes of the weights) for each directory."""
    script = [sys.executable, "-c", PEAK, dtype, str(warm), *map(str, directories)]
    done = subprocess.run(script, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    if "clear_refs" in done.stderr:
        pytest.skip("this system does not let a process reset its peak")
    assert done.returncode == 0, done.stderr
    return [(int(peak), int(weights)) for peak, weights in map(str.split, done.stdout.splitlines())]


def large(directory: Path, megabytes: int, stored: torch.dtype, shard_bytes: int) -> None:
    """A random checkpoint whose float32 weights take so many megabytes."""
    layers = max(1, megabytes // 17)
    config = ModelConfig(4096, 512, layers, 8, 4, 64, 2048, 512)
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(0))
    save_checkpoint(directory, model, dtype=stored, shard_bytes=shard_bytes)


SLACK = 24 << 20  # pages of the allocator and of the file's mapping that do not grow with the model


def test_loading_takes_the_weights_once(tmp_path: Path) -> None:
    """L4: as they are stored, and converted; small, so with a constant. The large one below has none."""
    saved(tmp_path / "warm")
    large(tmp_path / "float32", 68, torch.float32, 1 << 40)
    large(tmp_path / "bfloat16", 68, torch.bfloat16, 1 << 40)
    for peak, weights in peaks_of_loading([tmp_path / "float32", tmp_path / "bfloat16"], tmp_path / "warm", "float32"):
        assert weights > 60e6 and peak <= 1.2 * weights + SLACK


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shard_bytes", [1 << 40, 50 << 20])
def test_loading_a_large_checkpoint_takes_at_most_1_2_times_its_weights(
    stored: torch.dtype, dtype: str, shard_bytes: int, tmp_path: Path
) -> None:
    """L4: of 500 MB in float32, of half of that in bf16; single and sharded, converted and not."""
    saved(tmp_path / "warm")
    large(tmp_path / "model", 560, stored, shard_bytes)
    [(peak, weights)] = peaks_of_loading([tmp_path / "model"], tmp_path / "warm", dtype)
    assert weights > 250e6 and peak <= 1.2 * weights
