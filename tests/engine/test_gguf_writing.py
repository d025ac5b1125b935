"""GGUF files written here: read back they are the model; what such a file cannot say is an error that names it."""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import sentencepiece
import torch
from gguf import GGMLQuantizationType as Type
from gguf_files import CHATML, tensors_of
from json_tokenizers import byte_level, llama, saved, unigram
from test_gguf_tokenizer import SAMPLES
from tiny import KINDS, OTHER_KINDS, TINY, random_ids, tiny_model
from tokenizers import Tokenizer as Backend

import engine.gguf_writing
from engine.api import load_engine
from engine.config import ExpertsConfig, ModelConfig, RopeScaling
from engine.decoder import DecoderLM
from engine.errors import CheckpointError, ModelError, TokenizerError
from engine.gguf import open_gguf
from engine.gguf_model import gguf_config, load_gguf_model
from engine.gguf_tokenizer import gguf_tokenizer
from engine.gguf_vocabulary import vocabulary
from engine.gguf_writing import QUANTS, Companions, write_gguf
from engine.params import SamplingParams
from engine.source import open_source
from engine.template import TFM, Message
from engine.tokenizer import SentencePieceTokenizer, Tokenizer
from engine.tokenizer_config import Control

CPU = torch.device("cpu")
PLAIN = Companions("a model")
IDS = random_ids(24, vocab_size=400)


def sized(config: ModelConfig) -> ModelConfig:
    """The config with rows for the pieces of the test's tokenizer, and rows that the blocks divide."""
    return replace(config, vocab_size=416, d_ff=64, eos_ids=(2,))


def written(
    path: Path, model: DecoderLM, tokenizer: Tokenizer, quant: str = "f32", companions: Companions = PLAIN
) -> Path:
    write_gguf(path, model, tokenizer, companions, quant)
    return path


def read(path: Path) -> DecoderLM:
    file = open_gguf(path)
    return load_gguf_model(file, gguf_config(file), torch.float32, CPU)


def logits(model: DecoderLM) -> torch.Tensor:
    return model(torch.tensor([IDS]))


YARN = RopeScaling("yarn", 4.0, 24, attention_factor=1.2, beta_fast=8.0, beta_slow=0.5)
WRITTEN = {name: config for name, config in KINDS.items() if name not in ("dynamic", "yarn")} | {
    "yarn": replace(TINY, rope_scaling=YARN, head_dim=16, rope_theta=100.0)
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_is_written_is_read_back_bit_for_bit(kind: str, tmp_path: Path, tokenizer: SentencePieceTokenizer) -> None:
    config = sized(WRITTEN[kind])
    model = tiny_model(config)
    back = read(written(tmp_path / "m.gguf", model, tokenizer))
    scaling = back.config.rope_scaling
    if scaling is not None and scaling.kind == "yarn":
        assert scaling.attention_factor == pytest.approx(1.2, rel=1e-6)
        back.config = replace(back.config, rope_scaling=replace(scaling, attention_factor=1.2))
    assert back.config == config
    for name, parameter in back.named_parameters():
        assert torch.equal(parameter, dict(model.named_parameters())[name]), name
    assert torch.allclose(logits(back), logits(model), atol=1e-4)


def test_tensors_lie_as_llama_cpp_has_them(tmp_path: Path, tokenizer: SentencePieceTokenizer) -> None:
    """Rows of queries and keys so that neighbours rotate; gguf's own reader agrees on names, shapes and numbers."""
    model = tiny_model(sized(replace(KINDS["mqa biases"], tie_embeddings=False)))
    reader = gguf.GGUFReader(written(tmp_path / "m.gguf", model, tokenizer))
    expected = tensors_of(model, "llama")
    assert {t.name for t in reader.tensors} == set(expected)
    for tensor in reader.tensors:
        assert torch.equal(torch.from_numpy(tensor.data.copy()), expected[tensor.name]), tensor.name


@pytest.mark.parametrize("quant", QUANTS)
@pytest.mark.parametrize("tied", [True, False])
def test_matrices_are_rounded_as_the_package_rounds_and_vectors_are_not(
    quant: str, tied: bool, tmp_path: Path, tokenizer: SentencePieceTokenizer
) -> None:
    """With blocks of four bits the head has eight."""
    model = tiny_model(sized(replace(TINY, tie_embeddings=tied)))
    path = written(tmp_path / "m.gguf", model, tokenizer, quant)
    back = dict(read(path).named_parameters())
    for name, parameter in model.named_parameters():
        is_head = name == ("embedding.weight" if tied else "head.weight")
        kind = Type.F32 if parameter.dim() == 1 else Type[("q8_0" if is_head and quant == "q4_0" else quant).upper()]
        rounded = gguf.dequantize(gguf.quantize(parameter.numpy(), kind), kind)
        assert torch.equal(back[name], torch.from_numpy(rounded.copy()).reshape(parameter.shape)), name
    told = open_gguf(path).metadata
    assert told["general.file_type"] == gguf.LlamaFileType[QUANTS[quant]]
    assert told["general.quantization_version"] == gguf.GGML_QUANT_VERSION


def test_rows_that_blocks_do_not_divide_become_f16_and_are_named(
    tmp_path: Path, tokenizer: SentencePieceTokenizer
) -> None:
    model = tiny_model(replace(sized(TINY), d_ff=48))
    odd = write_gguf(tmp_path / "m.gguf", model, tokenizer, PLAIN, "q8_0")
    assert odd == ("blk.0.ffn_down.weight", "blk.1.ffn_down.weight")
    assert open_gguf(tmp_path / "m.gguf").quantisation() == "Q8_0 (13), F16 (2), F32 (5)"


def test_pieces_smaller_than_a_tensor_give_the_same_file(
    tmp_path: Path, tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(sized(TINY))
    whole = written(tmp_path / "a.gguf", model, tokenizer, "q4_0").read_bytes()
    monkeypatch.setattr(engine.gguf_writing, "PIECE", 96)
    assert written(tmp_path / "b.gguf", model, tokenizer, "q4_0").read_bytes() == whole


def test_a_number_beyond_f16_is_an_error_and_not_infinity(tmp_path: Path, tokenizer: SentencePieceTokenizer) -> None:
    model = tiny_model(sized(TINY))
    model.blocks[1].mlp.down.weight[0, 0] = 1e5
    with pytest.raises(CheckpointError, match=r"blk\.1\.ffn_down\.weight .*F16.*bf16"):
        write_gguf(tmp_path / "m.gguf", model, tokenizer, PLAIN, "f16")
    assert list(tmp_path.iterdir()) == []


REFUSED: dict[str, tuple[ModelConfig, str]] = {
    "score": (OTHER_KINDS["bilinear"], "score"),
    "positions": (OTHER_KINDS["alibi"], "positions"),
    "rank of values": (replace(TINY, value_rank=3), "value_rank"),
    "experts": (replace(TINY, experts=ExpertsConfig(4, 16)), "experts"),
    "gelu": (replace(TINY, activation="gelu_tanh"), "activation"),
    "layer norm": (replace(TINY, norm="layer"), "norm 'layer'"),
    "norm after": (replace(TINY, norm_place="after"), "norm_place"),
    "dynamic rope": (KINDS["dynamic"], "dynamic"),
    "untruncated yarn": (KINDS["yarn"], "truncate"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_llama_cpp_would_not_compute_is_named(
    case: str, tmp_path: Path, tokenizer: SentencePieceTokenizer
) -> None:
    config, said = REFUSED[case]
    with pytest.raises(CheckpointError, match=said):
        write_gguf(tmp_path / "m.gguf", tiny_model(sized(config)), tokenizer, PLAIN, "f32")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("space", [False, True])
def test_a_sentencepiece_tokenizer_reads_alike_after_the_way_through_a_file(
    space: bool, tmp_path: Path, tokenizer_path: Path, llama2_path: Path
) -> None:
    theirs = SentencePieceTokenizer(llama2_path if space else tokenizer_path, {"<|turn|>": 410})
    path = written(tmp_path / "m.gguf", tiny_model(sized(TINY)), theirs)
    ours = gguf_tokenizer(open_gguf(path))
    for text in [*SAMPLES, "a▁b"]:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text))
    assert ours.controls == theirs.controls and ours.special_tokens == theirs.special_tokens
    assert ours.adds_bos and ours.adds_space_prefix == space and ours.vocab_size == theirs.vocab_size
    told = open_gguf(path).metadata
    assert len(told["tokenizer.ggml.tokens"]) == len(set(told["tokenizer.ggml.tokens"])) == 416
    assert told["tokenizer.ggml.tokens"][-1] == "[PAD415]" and told["tokenizer.ggml.token_type"][-1] == 5
    assert told["tokenizer.ggml.add_space_prefix"] == space and not told["tokenizer.ggml.add_eos_token"]
    assert told["tokenizer.ggml.unknown_token_id"] == 0 and "tokenizer.ggml.eot_token_id" not in told


def test_text_that_is_kept_whole_is_told_as_it_is_typed(tmp_path: Path, tokenizer_path: Path) -> None:
    """llama.cpp looks for it before spaces become ▁; and a model here finds it again."""
    from engine.sentencepiece_format import Kind, Piece, read_piece_model, write_piece_model

    model = read_piece_model(SentencePieceTokenizer(tokenizer_path).proto())
    pieces = [*model.pieces, Piece("▁▁so▁▁", 0.0, Kind.USER_DEFINED)]
    proto = write_piece_model(pieces, {"unk": 0, "bos": 1, "eos": 2, "pad": None}, space_prefix=False)
    theirs = SentencePieceTokenizer(tokenizer_path, proto=proto)
    path = written(tmp_path / "m.gguf", tiny_model(sized(TINY)), theirs)
    assert open_gguf(path).metadata["tokenizer.ggml.tokens"][len(pieces) - 1] == "  so  "
    ours = gguf_tokenizer(open_gguf(path))
    assert ours.encode("is  so  it") == theirs.encode("is  so  it")
    assert len(pieces) - 1 in ours.encode("is  so  it")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with GPT-2's kind of tokenizer.json."""
    home = tmp_path_factory.mktemp("bpe")
    byte_level(home, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], texts=["<think>"])
    return home


def changed(home: Path, where: Path, **parts: Any) -> Tokenizer:
    """The tokenizer of a directory with other parts of its tokenizer.json."""
    told = json.loads((home / "tokenizer.json").read_text())
    model = parts.pop("model", {})
    return saved(Backend.from_str(json.dumps(told | parts | {"model": told["model"] | model})), where)


LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def cut(*expressions: str) -> dict[str, Any]:
    splits = [
        {"type": "Split", "pattern": {"Regex": e}, "behavior": "Isolated", "invert": False} for e in expressions
    ]  # fmt: skip
    return {"type": "Sequence", "pretokenizers": [*splits, LEVEL]}


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_a_byte_level_tokenizer_reads_alike_after_the_way_through_a_file(
    pre: str, trained: Path, tmp_path: Path
) -> None:
    from engine.gguf_tokenizer import CUTS

    parts: dict[str, Any] = {} if pre == "gpt-2" else {"pre_tokenizer": cut(*CUTS[pre])}
    parts |= {"normalizer": {"type": "NFC"}} if pre == "qwen2" else {}
    parts |= {"model": {"ignore_merges": True}} if pre == "llama-bpe" else {}
    theirs = changed(trained, tmp_path / "t", **parts)
    path = written(tmp_path / "m.gguf", tiny_model(sized(TINY)), theirs)
    told = open_gguf(path).metadata
    assert told["tokenizer.ggml.model"] == "gpt2" and told["tokenizer.ggml.pre"] == pre
    ours = gguf_tokenizer(open_gguf(path))
    for text in [*SAMPLES, "so <think>hm</think>", "e\u0301"]:
        assert ours.encode(text) == theirs.encode(text), text
    assert ours.controls == theirs.controls and not ours.adds_bos
    assert told["tokenizer.ggml.tokens"][415] == "[PAD415]" and ours.vocab_size == theirs.vocab_size


def lowered(trained: Path, where: Path) -> Tokenizer:
    return changed(trained, where, normalizer={"type": "Lowercase"})


BAD_TOKENIZERS: dict[str, tuple[Callable[[Path, Path], Tokenizer], str]] = {
    "another cut": (lambda t, w: changed(t, w, pre_tokenizer=cut(r"\d\d")), "cuts a text"),
    "a prefix": (lambda t, w: changed(t, w, pre_tokenizer=LEVEL | {"add_prefix_space": True}), "cuts a text"),
    "lower case": (lowered, "normalises"),
    "composed": (lambda t, w: changed(t, w, normalizer={"type": "NFC"}), "normalises"),
    "whole words": (lambda t, w: changed(t, w, model={"ignore_merges": True}), "whole words"),
    "byte fallback": (lambda t, w: llama(w), "tokenizer.model"),
    "unigram": (lambda t, w: unigram(w), "byte-level"),
    "spaces taken": (
        lambda t, w: SentencePieceTokenizer(w, {"<|x|>": Control(409, lstrip=True)}, proto=_proto("identity", "bpe")),
        "white space",
    ),
    "spm unigram": (lambda t, w: SentencePieceTokenizer(w, proto=_proto("identity", "unigram")), "no BPE"),
    "spm nfkc": (lambda t, w: SentencePieceTokenizer(w, proto=_proto("nmt_nfkc", "bpe")), "nmt_nfkc"),
    "spm trims": (lambda t, w: SentencePieceTokenizer(w, proto=_proto("identity", "bpe", trims=True)), "white"),
    "spm without bytes": (
        lambda t, w: SentencePieceTokenizer(w, proto=_proto("identity", "bpe", fallback=False)), "byte pieces"
    ),
}  # fmt: skip


def _proto(rule: str, kind: str, *, trims: bool = False, fallback: bool = True) -> bytes:
    import io

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox", "jumps over the lazy dog"] * 4), model_writer=model,
        model_type=kind, vocab_size=310 if fallback else 40, byte_fallback=fallback, normalization_rule_name=rule,
        remove_extra_whitespaces=trims, hard_vocab_limit=False, num_threads=1, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


@pytest.mark.parametrize("case", BAD_TOKENIZERS)
def test_a_tokenizer_that_gguf_cannot_say_is_told_with_the_reason(case: str, trained: Path, tmp_path: Path) -> None:
    make, said = BAD_TOKENIZERS[case]
    bad = make(trained, tmp_path / "t")
    with pytest.raises(TokenizerError, match=said):
        write_gguf(tmp_path / "m.gguf", tiny_model(sized(TINY)), bad, PLAIN, "f32")
    assert not list(tmp_path.glob("m.gguf*"))


@pytest.mark.parametrize("ends", [(), (2, 3, 4, 5)])
def test_a_file_names_one_to_three_ends(ends: tuple[int, ...], tokenizer: SentencePieceTokenizer) -> None:
    with pytest.raises(TokenizerError, match=f"ends with {len(ends)} different tokens"):
        vocabulary(tokenizer, replace(sized(TINY), eos_ids=ends))
    told = vocabulary(tokenizer, replace(sized(TINY), eos_ids=(6, 2, 5), bos_id=None))
    assert [told[f"{end}_token_id"] for end in ("eos", "eot", "eom")] == [6, 2, 5]
    assert "bos_token_id" not in told and not told["add_bos_token"]


def test_a_model_written_and_read_chats_alike(engine_dir: Path, tmp_path: Path) -> None:
    source = open_source(engine_dir)
    companions = Companions("tiny", source.templates(), {"temperature": 0.3, "top_k": 40, "min_p": 0.1}, "Apache-2.0")
    path = tmp_path / "tiny.gguf"
    write_gguf(path, source.model(torch.float32, CPU), source.tokenizer(), companions, "f32")
    here, there = load_engine(engine_dir, dtype="float32"), load_engine(path, dtype="float32")
    assert there.defaults == {"temperature": 0.3, "top_k": 40, "min_p": 0.1}
    assert there.config.eos_ids == here.config.eos_ids and there.context == here.context
    said = [Message("system", "Be brief."), Message("user", "Who are you? <|end|> 你好 ▁")]
    assert there.template == here.template == TFM and there.prompt_ids(said) == here.prompt_ids(said)
    params = SamplingParams(greedy=True, max_new_tokens=24)
    ends = [list(e.chat(said, params))[-1] for e in (here, there)]
    assert ends[0].ids == ends[1].ids and len(ends[0].ids) > 2
    told = open_gguf(path).metadata
    assert (told["general.name"], told["general.license"]) == ("tiny", "Apache-2.0")


def test_several_templates_keep_their_names(tmp_path: Path, tokenizer: SentencePieceTokenizer) -> None:
    templates = {"default": CHATML, "tool_use": "{{ messages }}"}
    path = written(tmp_path / "m.gguf", tiny_model(sized(TINY)), tokenizer, companions=Companions("m", templates))
    assert open_source(path).templates() == templates


def test_nothing_is_overwritten(tmp_path: Path, tokenizer: SentencePieceTokenizer) -> None:
    (tmp_path / "m.gguf").write_text("mine")
    with pytest.raises(CheckpointError, match="nothing is overwritten"):
        write_gguf(tmp_path / "m.gguf", tiny_model(sized(TINY)), tokenizer, PLAIN, "f32")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["mine"]


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk looks like from here."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:  # before pytest writes a word
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [100, 20_000, 60_000])
def test_a_full_disk_leaves_nothing(size: int, tmp_path: Path, tokenizer: SentencePieceTokenizer) -> None:
    model = tiny_model(sized(TINY))
    with small_disk(size), pytest.raises(CheckpointError, match=r"m\.gguf cannot be written"):
        write_gguf(tmp_path / "m.gguf", model, tokenizer, PLAIN, "f32")
    assert list(tmp_path.iterdir()) == []


def test_a_place_below_a_file_is_an_error(tmp_path: Path, tokenizer: SentencePieceTokenizer) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_gguf(tmp_path / "taken" / "m.gguf", tiny_model(sized(TINY)), tokenizer, PLAIN, "f32")


def test_without_the_package_it_says_how_to_get_it(
    tmp_path: Path, tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.gguf_writing, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'tfm\[gguf\]'"):
        write_gguf(tmp_path / "m.gguf", tiny_model(sized(TINY)), tokenizer, PLAIN, "f32")
