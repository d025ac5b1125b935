"""Each check of `tfm verify` finds a whole model in order, and tells of one that was spoilt for it."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_templates import CONTROLS, FAMILIES
from gguf_files import write_gguf
from json_tokenizers import byte_level, llama
from safetensors.torch import load_file, save_file
from tiny import KINDS, OTHER_KINDS, TINY, Spy, random_ids, tiny_model

from engine import verification_logits as numbers
from engine.checkpoint import load_config, load_model
from engine.config import ModelConfig, RopeScaling
from engine.decoder import DecoderLM
from engine.errors import CheckpointError, TokenizerError
from engine.jinja_template import JinjaTemplate
from engine.layers.quantised import QuantisedMatrix, tile_rows
from engine.source import open_source
from engine.template import PLAIN, TFM
from engine.tokenizer import SentencePieceTokenizer
from engine.verification import hashes, shapes
from engine.verification_text import TEXTS, injection, round_trip, template_lint

GOLDENS = Path(__file__).parents[1] / "goldens" / "gguf"
WEIGHTS = "model.safetensors"


@pytest.fixture
def copy(engine_dir: Path, tmp_path: Path) -> Path:
    """A model directory of one's own, to spoil."""
    return Path(shutil.copytree(engine_dir, tmp_path / "copy"))


def change(directory: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(directory / WEIGHTS)
    edit(tensors)
    save_file(tensors, directory / WEIGHTS, {"format": "pt"})


def test_hashes_that_came_with_a_model_are_compared_and_others_only_told(copy: Path) -> None:
    data, small = (copy / WEIGHTS).read_bytes(), (copy / "config.json").read_bytes()
    sha256 = f"sha256:{hashlib.sha256(data).hexdigest()}"
    git = f"sha1:{hashlib.sha1(b'blob %d' % len(small) + bytes(1) + small).hexdigest()}"
    expected = {WEIGHTS: sha256, "config.json": git}
    assert hashes(copy, expected).verdict == "same"
    assert hashes(copy, {}).verdict == "skipped" and sha256 in hashes(copy, {}).said
    (copy / WEIGHTS).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    row = hashes(copy, expected | {"gone.json": git})
    assert (row.verdict, row.number) == ("differs", 2)
    assert f"{WEIGHTS} is not what was fetched" in row.said and "gone.json is missing" in row.said
    assert hashes(copy, {"config.json": git}).verdict == "same"


def test_headers_are_as_the_config_wants_them(engine_dir: Path) -> None:
    row = shapes(engine_dir, load_config(engine_dir))
    assert (row.verdict, row.number) == ("same", 0) and row.said.startswith(f"{len(load_file(engine_dir / WEIGHTS))} ")


NORM, UP = "model.norm.weight", "model.layers.1.mlp.up_proj.weight"
SPOILT: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "missing": (lambda t: t.pop(UP), f"{UP} is missing"),
    "left over": (lambda t: t.update(extra=torch.zeros(2)), "extra has no place in the model"),
    "another shape": (lambda t: t.update({UP: torch.zeros(3, 4)}), f"{UP} is [3, 4] and not [48, 32]"),
    "whole numbers": (lambda t: t.update({NORM: torch.ones(32, dtype=torch.int8)}), f"{NORM} holds I8"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_tensor_that_is_not_as_the_config_says_is_told(name: str, copy: Path) -> None:
    edit, told = SPOILT[name]
    change(copy, edit)
    row = shapes(copy, load_config(copy))
    assert (row.verdict, row.said, row.number) == ("differs", told, 1)


def test_bytes_that_are_no_tensors_and_a_truncated_file_are_told(copy: Path) -> None:
    data = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(data + b"more")
    assert shapes(copy, load_config(copy)).said == f"{WEIGHTS} has 4 bytes that are no tensor's"
    (copy / WEIGHTS).write_bytes(data[:-1])
    with pytest.raises(CheckpointError, match="truncated"):
        shapes(copy, load_config(copy))


def test_a_tensor_in_two_shards_is_told(copy: Path) -> None:
    tensors = load_file(copy / WEIGHTS)
    save_file(tensors, copy / "a.safetensors")
    save_file({NORM: tensors[NORM]}, copy / "b.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, "a.safetensors") | {NORM: "b.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert shapes(copy, load_config(copy)).said == f"{NORM} is there twice"


def test_a_config_of_a_thousand_million_layers_is_told_in_no_time(copy: Path) -> None:
    config = replace(load_config(copy), n_layers=10**9)
    assert shapes(copy, config).verdict == "differs"


def test_a_gguf_file_is_held_against_its_metadata(tmp_path: Path) -> None:
    config = replace(TINY, vocab_size=300)
    good = write_gguf(tmp_path / "good.gguf", tiny_model(config))
    assert shapes(good, open_source(good).config).verdict == "same"
    for name, tensor, told in (
        ("blk.0.ffn_up.weight", None, "is missing"),
        ("blk.7.ffn_up.weight", torch.zeros(48, 32), "has no place"),
        ("blk.0.ffn_up.weight", torch.zeros(32, 32), "is [32, 32] and not [48, 32]"),
    ):
        bad = write_gguf(tmp_path / "bad.gguf", tiny_model(config), tensors={name: tensor})
        row = shapes(bad, open_source(bad).config)
        assert row.verdict == "differs" and f"{name} {told}" in row.said


def test_texts_come_back(tokenizer: SentencePieceTokenizer, tmp_path: Path) -> None:
    for good in (tokenizer, byte_level(tmp_path, CONTROLS, ())):
        row = round_trip(good, 1000)
        assert (row.verdict, row.said) == ("same", f"{len(TEXTS)} of {len(TEXTS)} texts come back")


def test_what_a_tokenizer_rewrites_by_its_own_rules_is_a_note(
    llama2_tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    for good in (llama2_tokenizer, llama(tmp_path)):
        row = round_trip(good, 1000)
        assert row.verdict == "same" and "own rules: the mark of a space" in row.said
    told = json.loads((tmp_path / "tokenizer.json").read_text())
    told["normalizer"]["normalizers"].insert(0, {"type": "NFC"})
    (tmp_path / "nfc").mkdir()
    (tmp_path / "nfc" / "tokenizer.json").write_text(json.dumps(told))
    row = round_trip(type(llama(tmp_path)).from_dir(tmp_path / "nfc"), 1000)
    assert row.verdict == "same" and "own rules: composed and decomposed" in row.said


def test_characters_without_a_piece_are_a_note(tmp_path: Path) -> None:
    llama(tmp_path)
    told = json.loads((tmp_path / "tokenizer.json").read_text())
    told["model"]["byte_fallback"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(told))
    row = round_trip(type(byte_level(tmp_path / "other", CONTROLS, ())).from_dir(tmp_path), 1000)
    assert row.verdict == "same" and "no piece for: " in row.said and "Korean" in row.said


def test_a_text_that_comes_back_as_another_is_told_by_name(tokenizer: SentencePieceTokenizer) -> None:
    class Spoilt(SentencePieceTokenizer):
        def decode(self, ids: Sequence[int]) -> str:
            return super().decode(ids).replace("😀", "☺")

    row = round_trip(Spoilt(tokenizer.path), 1000)
    assert (row.verdict, row.number) == ("differs", 2)
    assert row.said.endswith("other when they come back: emoji, a long run of emoji")
    assert "beyond the embedding's 300 rows" in round_trip(tokenizer, 300).said


def test_control_tokens_that_are_typed_stay_text(tokenizer: SentencePieceTokenizer) -> None:
    row = injection(tokenizer, TFM, {2})
    assert row.verdict == "same" and row.said.startswith(f"{len(tokenizer.controls)} control tokens")


def test_an_end_that_can_be_typed_is_told(tmp_path: Path) -> None:
    spoilt = byte_level(tmp_path, ["<s>"], ["<|end|>"])  # added as text, where it should be a control token
    [end] = spoilt.encode("<|end|>")
    assert injection(spoilt, None, ()).verdict == "same"
    row = injection(spoilt, None, {end})
    assert row.verdict == "differs" and row.said == f"<|end|> that is typed becomes the token {end}"


def test_a_tokenizer_that_reads_a_control_token_is_told(tokenizer: SentencePieceTokenizer) -> None:
    end = tokenizer.controls["<|end|>"].id

    class Careless(SentencePieceTokenizer):
        def encode(self, text: str) -> list[int]:
            return [end] if "<|end|>" in text else super().encode(text)

    class Refusing(SentencePieceTokenizer):
        def encode(self, text: str) -> list[int]:
            raise TokenizerError("No.")

    row = injection(Careless(tokenizer.path), TFM, ())
    assert row.verdict == "differs" and f"<|end|> that is typed becomes the token {end}" in row.said
    assert "the words of a message can become <|end|> in the template" in row.said
    assert injection(Refusing(tokenizer.path), None, ()).verdict == "differs"


def test_the_template_is_looked_over_and_what_is_so_by_design_is_a_note(
    tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    ends = {2, tokenizer.controls["<|end|>"].id}
    assert template_lint(TFM, tokenizer, ends).verdict == "same"
    assert template_lint(TFM, tokenizer, {2}).verdict == "differs"
    assert template_lint(PLAIN, tokenizer, ends).said.endswith("plain words, which any message can write too.")
    twice = JinjaTemplate(
        "{{ bos_token }}{{ bos_token }}<|user|>{{ messages[0].content }}<|end|><|assistant|>", tokenizer.controls,
        tokenizer.special_tokens,
    )  # fmt: skip
    row = template_lint(twice, tokenizer, ends)
    assert row.verdict == "differs" and "BOS 2 times" in row.said
    known = byte_level(tmp_path, CONTROLS, ())
    every = [control.id for control in known.controls.values()]
    for family in FAMILIES.values():
        tokens = {"bos_token": family.bos, "eos_token": family.eos}
        template = JinjaTemplate(family.jinja, known.controls, tokens)
        assert template_lint(template, known, every).verdict == "same"


LONG = RopeScaling("longrope", 4.0, 24, short_factors=(1.0,) * 4, long_factors=(1.0, 2.0, 3.0, 4.0))
EVERY = KINDS | OTHER_KINDS | {"longrope": replace(TINY, rope_scaling=LONG)}


@pytest.mark.parametrize("name", EVERY)
def test_every_kind_of_model_is_read_alike_in_every_way(name: str) -> None:
    model = tiny_model(EVERY[name])
    ids = numbers.sample_ids(None, model.config)
    for check in (numbers.plain_pass, numbers.cached, numbers.chunked, numbers.batched):
        row = check(model, ids)
        assert row.verdict == "same", row
        assert row.number is not None and row.limit is not None and row.limit < 1e-3


class Wrong(DecoderLM):
    """A decoder whose logits are off where `wrong` says so of (rows, new positions, positions before)."""

    def __init__(self, config: ModelConfig, wrong: Callable[[int, int, int], bool]) -> None:
        super().__init__(config)
        self.load_state_dict(tiny_model(config).state_dict())
        self.wrong = wrong

    def forward(self, ids: torch.Tensor, cache: Any = None, last_only: bool = False) -> torch.Tensor:
        before = 0 if cache is None else cache.length
        off = 0.01 if self.wrong(*ids.shape, before) else 0.0
        return super().forward(ids, cache, last_only) + off


WRONG: dict[str, tuple[Callable[[Any, Any], Any], Callable[[int, int, int], bool]]] = {
    "one pass": (numbers.plain_pass, lambda rows, new, before: True),
    "KV cache": (numbers.cached, lambda rows, new, before: new == 1),
    "chunked prefill": (numbers.chunked, lambda rows, new, before: new == numbers.CHUNK and before > 0),
    "batch": (numbers.batched, lambda rows, new, before: rows > 1),
}


@pytest.mark.parametrize("name", WRONG)
@torch.inference_mode()
def test_a_way_of_reading_that_differs_is_told_by_its_check_alone(name: str) -> None:
    model, ids = Wrong(TINY, WRONG[name][1]), random_ids(9 * numbers.CHUNK)
    told = {row.name: row for row in (check(model, ids) for check, _ in WRONG.values())}
    assert told[name].verdict == "differs" and told[name].number == pytest.approx(0.01, rel=0.05)
    if name != "one pass":
        assert [other for other, row in told.items() if row.verdict == "differs"] == [name]


def test_a_weight_that_is_no_number_is_told() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.norm.weight[0] = torch.nan
    assert numbers.plain_pass(model, random_ids(8)).verdict == "differs"
    logits = numbers.whole(model, random_ids(8))
    assert numbers.rounded("bfloat16", logits, logits).verdict == "differs"


def test_roundings_are_measured_and_those_that_lose_the_model_are_told() -> None:
    model, ids = tiny_model(), random_ids(64)
    exact = numbers.whole(model, ids)
    same = numbers.rounded("bfloat16", exact, exact)
    assert (same.verdict, same.number) == ("same", 0) and "at 100.0%" in same.said
    with torch.no_grad():
        model.embedding.weight += 100.0  # what tells tokens apart is below bfloat16's last bit
    exact = numbers.whole(model, ids)
    row = numbers.rounded("bfloat16", exact, numbers.as_answered(model.to(torch.bfloat16), ids))
    assert row.verdict == "differs" and row.number is not None and row.number > 10 * numbers.ROUNDED_KL


@pytest.mark.skipif(tile_rows() is None, reason="no kernel for quantised weights on this processor")
def test_quantised_weights_that_are_kept_are_compared_and_a_wrong_scale_is_told() -> None:
    source = open_source(GOLDENS / "Q4_0.gguf")
    cpu = torch.device("cpu")
    ids = numbers.sample_ids(None, source.config)
    exact = numbers.whole(source.model(torch.float32, cpu), ids)
    kept = source.model(torch.bfloat16, cpu, keep=True)
    assert numbers.rounded("quantised", exact, numbers.as_answered(kept, ids)).verdict == "same"
    matrix = next(module for module in kept.modules() if isinstance(module, QuantisedMatrix))
    matrix.scales.mul_(2)
    assert numbers.rounded("quantised", exact, numbers.as_answered(kept, ids)).verdict == "differs"


def test_the_reference_is_transformers_on_the_same_directory(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    config, ids = load_config(copy), random_ids(64)
    logits = numbers.whole(load_model(copy, config, torch.float32, torch.device("cpu")), ids)
    row = numbers.reference(copy, logits, ids)
    assert (row.verdict, row.limit) == ("same", 1e-4), row
    change(copy, lambda tensors: tensors[NORM].mul_(1.01))
    assert numbers.reference(copy, logits, ids).verdict == "differs"
    (copy / WEIGHTS).unlink()
    assert numbers.reference(copy, logits, ids).verdict == "skipped"
    monkeypatch.setattr(numbers, "find_spec", lambda name: None)
    assert "not installed" in numbers.reference(copy, logits, ids).said


def test_the_ids_that_are_read_pass_a_window_and_stay_in_the_context(tokenizer: SentencePieceTokenizer) -> None:
    config = replace(TINY, vocab_size=416)
    assert len(numbers.sample_ids(tokenizer, config)) == 64
    assert len(numbers.sample_ids(tokenizer, replace(config, window=100))) == 116
    assert len(numbers.sample_ids(tokenizer, replace(config, max_positions=10))) == 10
    assert max(numbers.sample_ids(tokenizer, replace(config, vocab_size=20))) < 20
    spy = Spy(tiny_model(config))
    numbers.as_answered(spy, numbers.sample_ids(tokenizer, config))
    assert [len(ids) for ids in spy.read] == [56, *[1] * 8]
