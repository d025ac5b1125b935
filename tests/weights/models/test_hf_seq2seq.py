"""weights/models/hf_seq2seq.py: other people's encoder-decoders give the logits and the text of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import KINDS, VOCABULARY, edit, make, sources
from safetensors.torch import load_file, save_file

from engine.errors import CheckpointError
from engine.params import SamplingParams
from engine.sampler import TokenRules
from weights.models.decoding import Search, beam_search, draw_tokens
from weights.models.hf_seq2seq import SEQ2SEQ_FAMILIES, load_seq2seq, read_seq2seq_config, seq2seq_placements
from weights.models.seq2seq import Seq2Seq

kinds = pytest.mark.parametrize("kind", KINDS)
CLOSE = {"atol": 1e-4, "rtol": 0.0}


def targets(model: Seq2Seq, rows: int = 4, length: int = 14) -> torch.Tensor:
    ids = torch.randint(3, VOCABULARY - 1, (rows, length), generator=torch.Generator().manual_seed(3))
    ids[:, 0] = model.config.bos_id
    return ids


@kinds
def test_logits_are_those_of_transformers_with_padding_and_with_the_cache(kind: str, tmp_path: Path) -> None:
    theirs = make(kind, tmp_path)
    ours = load_seq2seq(tmp_path)
    source, mask = sources(ours.config.pad_id, ours.config.eos_id)
    inputs = targets(ours)
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=inputs).logits
        found = ours(source, inputs)
        state = ours.start(source, 20)
        steps = torch.stack([ours.step(inputs[:, t], state) for t in range(inputs.shape[1])], 1)
    assert expected.std() > 0.1  # or everything would be close
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(steps, expected, **CLOSE)


def search(model: Seq2Seq, **changes: Any) -> Search:
    config = model.config
    rules = TokenRules.of(config.vocab_size, [config.eos_id], [])
    return Search(**{"bos": config.bos_id, "eos": config.eos_id, "rules": rules, "limit": 16, **changes})


@pytest.mark.parametrize("options", [{}, {"prefix": (7,)}, {"no_repeat": 2}, {"prefix": (7,), "no_repeat": 1}], ids=str)
@kinds
def test_greedy_decoding_is_that_of_transformers_token_for_token(
    kind: str, options: dict[str, Any], tmp_path: Path
) -> None:
    theirs = make(kind, tmp_path)
    ours = load_seq2seq(tmp_path)
    source, mask = sources(ours.config.pad_id, ours.config.eos_id)
    forced = options.get("prefix", ())
    wanted = {"forced_bos_token_id": forced[0]} if forced else {}
    said = theirs.generate(
        input_ids=source, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=16 + len(forced),
        min_new_tokens=1 + len(forced), no_repeat_ngram_size=options.get("no_repeat", 0), **wanted,
    )  # fmt: skip
    by_beam = beam_search(ours, source, search(ours, **options))
    drawn = draw_tokens(ours, source, search(ours, **options), SamplingParams(greedy=True, max_new_tokens=16), [0] * 4)
    for row, expected in enumerate(said.tolist()):
        assert tuple(expected[: 1 + len(forced)]) == (ours.config.bos_id, *forced)
        tail = expected[1 + len(forced) :]
        tail = tail[: tail.index(ours.config.eos_id)] if ours.config.eos_id in tail else tail
        assert list(by_beam[row][0].ids) == list(drawn[row].ids) == tail


@pytest.mark.parametrize("kind", ["T5 gated-gelu untied", "BART", "mBART"])
def test_shards_are_read_as_one_file_is(kind: str, tmp_path: Path) -> None:
    make(kind, tmp_path / "one")
    make(kind, tmp_path / "many", shards="20KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    one, many = load_seq2seq(tmp_path / "one").state_dict(), load_seq2seq(tmp_path / "many").state_dict()
    assert one.keys() == many.keys() and all(torch.equal(one[name], many[name]) for name in one)


@kinds
def test_each_parameter_is_filled_once_and_wholly(kind: str, tmp_path: Path) -> None:
    make(kind, tmp_path)
    model = load_seq2seq(tmp_path)
    filled: dict[str, list[int]] = {name: [] for name, _ in model.named_parameters()}
    for place in seq2seq_placements(SEQ2SEQ_FAMILIES[KINDS[kind][0]], model.config):
        rows = range(len(dict(model.named_parameters())[place.ours]))
        filled[place.ours] += rows if place.rows is None else rows[place.rows]
    for name, parameter in model.named_parameters():
        assert sorted(filled[name]) == list(range(len(parameter))), name


def rewrite(directory: Path, **changes: torch.Tensor | None) -> None:
    tensors = load_file(directory / "model.safetensors")
    tensors |= {name: t for name, t in changes.items() if t is not None}
    save_file(
        {n: t for n, t in tensors.items() if n not in changes or changes[n] is not None},
        directory / "model.safetensors", {"format": "pt"},
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["T5 relu tied", "mBART"])
def test_a_tensor_that_is_missing_left_over_or_of_another_shape_is_named(kind: str, tmp_path: Path) -> None:
    make(kind, tmp_path)
    names = sorted(load_file(tmp_path / "model.safetensors"))
    for name in (*names[:: len(names) // 8], names[-1]):
        before = load_file(tmp_path / "model.safetensors")[name]
        if name != "final_logits_bias":  # zero, where it is not stored
            rewrite(tmp_path, **{name: None})
            with pytest.raises(CheckpointError, match=f"{name} is missing"):
                load_seq2seq(tmp_path)
        rewrite(tmp_path, **{name: before[..., :-1].contiguous()})
        with pytest.raises(CheckpointError, match=f"{name} has the shape"):
            load_seq2seq(tmp_path)
        rewrite(tmp_path, **{name: before})
    rewrite(tmp_path, invented=torch.zeros(2))
    with pytest.raises(CheckpointError, match="the tensor invented has no place"):
        load_seq2seq(tmp_path)


def test_the_embedding_may_be_stored_by_the_name_of_a_copy_and_copies_must_be_equal(tmp_path: Path) -> None:
    make("BART", tmp_path)
    expected = load_seq2seq(tmp_path).embedding.weight
    shared = load_file(tmp_path / "model.safetensors")["model.shared.weight"]
    copy = {"model.encoder.embed_tokens.weight": shared}
    rewrite(tmp_path, **{"model.shared.weight": None, **copy, "lm_head.weight": shared.clone()})
    assert torch.equal(load_seq2seq(tmp_path).embedding.weight, expected)
    rewrite(tmp_path, **{"model.shared.weight": shared + 1})
    with pytest.raises(CheckpointError, match=r"encoder\.embed_tokens\.weight differs from model\.shared\.weight"):
        load_seq2seq(tmp_path)


def test_a_head_that_differs_from_the_embedding_is_used_as_transformers_does(tmp_path: Path) -> None:
    theirs = make("BART", tmp_path)
    rewrite(tmp_path, **{"lm_head.weight": torch.randn(VOCABULARY, 16)})
    theirs = type(theirs).from_pretrained(tmp_path).eval()
    ours = load_seq2seq(tmp_path)
    source, mask = sources(1, 2)
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=targets(ours)).logits
        torch.testing.assert_close(ours(source, targets(ours)), expected, **CLOSE)


IMPOSSIBLE: list[tuple[str, dict[str, Any], str]] = [
    ("BART", {"invented": 3}, "invented = 3 is not supported"),
    ("BART", {"normalize_before": True}, "normalize_before = True is not supported; False is"),
    ("mBART", {"normalize_before": False}, "normalize_before"),
    ("mBART", {"static_position_embeddings": True}, "static_position_embeddings"),
    ("BART", {"activation_function": "mish"}, "activation_function = 'mish' is not supported"),
    ("BART", {"activation_function": ["gelu"]}, "activation_function"),
    ("BART", {"decoder_ffn_dim": 30}, "decoder_ffn_dim 30 and encoder_ffn_dim 24 differ"),
    ("BART", {"decoder_attention_heads": 2}, "decoder_attention_heads 2"),
    ("BART", {"encoder_attention_heads": 3, "decoder_attention_heads": 3}, "3 heads do not divide"),
    ("BART", {"d_model": "16"}, "d_model"),
    ("BART", {"d_model": None}, "d_model is missing"),
    ("BART", {"pad_token_id": 60}, "pad_id 60 is no token"),
    ("BART", {"eos_token_id": [2, 3]}, "eos_id"),
    ("BART", {"is_encoder_decoder": False}, "is_encoder_decoder = False"),
    ("BART", {"encoder_layers": 100_000_000}, "layers.2.self_attn.k_proj.bias|missing"),
    ("BART", {"quantization_config": {"bits": 8}}, "quantization_config"),
    ("Marian", {"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings = False"),
    ("Marian", {"decoder_vocab_size": 50}, "decoder_vocab_size 50"),
    ("Marian", {"normalize_embedding": True}, "normalize_embedding"),
    ("T5 relu tied", {"feed_forward_proj": "gated-relu"}, "feed_forward_proj = 'gated-relu'"),
    ("T5 relu tied", {"feed_forward_proj": "gated-gelu"}, "wi_0.weight is missing"),
    ("T5 relu tied", {"num_heads": 0}, "n_heads"),
    ("T5 relu tied", {"relative_attention_num_buckets": 2}, "n_buckets"),
    ("T5 relu tied", {"rope_theta": 1e4}, "rope_theta"),
    ("T5 relu tied", {"tie_word_embeddings": "no"}, "tie_word_embeddings = 'no'"),
]


@pytest.mark.parametrize(("kind", "changes", "says"), IMPOSSIBLE, ids=[f"{k} {c}" for k, c, _ in IMPOSSIBLE])
def test_what_cannot_be_computed_is_one_sentence_that_names_it(
    kind: str, changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    make(kind, tmp_path)
    edit(tmp_path, **changes)
    (tmp_path / "generation_config.json").unlink()  # what it says of the end token would hold
    with pytest.raises(CheckpointError, match=says):
        load_seq2seq(tmp_path)


def test_a_config_as_it_stands_on_the_hub_is_read() -> None:
    """Keys that older programs wrote, and that change nothing."""
    opus = {
        "_name_or_path": "x", "activation_dropout": 0.0, "activation_function": "swish", "add_bias_logits": False,
        "add_final_layer_norm": False, "architectures": ["MarianMTModel"], "attention_dropout": 0.0,
        "bad_words_ids": [[58100]], "bos_token_id": 0, "classif_dropout": 0.0, "classifier_dropout": 0.0,
        "d_model": 512, "decoder_attention_heads": 8, "decoder_ffn_dim": 2048, "decoder_layerdrop": 0.0,
        "decoder_layers": 6, "decoder_start_token_id": 58100, "decoder_vocab_size": 58101, "dropout": 0.1,
        "encoder_attention_heads": 8, "encoder_ffn_dim": 2048, "encoder_layerdrop": 0.0, "encoder_layers": 6,
        "eos_token_id": 0, "extra_pos_embeddings": 58101, "forced_eos_token_id": 0, "id2label": {"0": "LABEL_0"},
        "init_std": 0.02, "is_encoder_decoder": True, "max_length": 512, "max_position_embeddings": 512,
        "model_type": "marian", "normalize_before": False, "normalize_embedding": False, "num_beams": 6,
        "num_hidden_layers": 6, "pad_token_id": 58100, "scale_embedding": True, "static_position_embeddings": True,
        "share_encoder_decoder_embeddings": True, "transformers_version": "4.22.0", "use_cache": True,
        "vocab_size": 58101,
    }  # fmt: skip
    config = read_seq2seq_config(opus)
    assert (config.activation, config.norm_place, config.positions) == ("silu", "after", "sinusoidal_halves")
    assert (config.head_dim, config.bos_id, config.eos_id, config.embedding_scale) == (64, 58100, 0, "tokens")
    flan = {
        "architectures": ["T5ForConditionalGeneration"], "d_ff": 1024, "d_kv": 64, "d_model": 512,
        "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu",
        "initializer_factor": 1.0, "is_encoder_decoder": True, "layer_norm_epsilon": 1e-06, "model_type": "t5",
        "n_positions": 512, "num_decoder_layers": 8, "num_heads": 6, "num_layers": 8, "output_past": True,
        "pad_token_id": 0, "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32,
        "task_specific_params": {"summarization": {"prefix": "summarize: "}}, "tie_word_embeddings": False,
        "transformers_version": "4.23.1", "use_cache": True, "vocab_size": 32128,
    }  # fmt: skip
    config = read_seq2seq_config(flan)
    assert (config.activation, config.head_scale, config.head_dim, config.score) == ("geglu_tanh", False, 64, "dot")
    assert read_seq2seq_config(flan | {"tie_word_embeddings": True}).head_scale


def test_what_generation_config_says_of_the_first_and_the_last_token_holds(tmp_path: Path) -> None:
    make("BART", tmp_path)
    edit(tmp_path, drop=("decoder_start_token_id",))
    edit(tmp_path, "generation_config.json", decoder_start_token_id=5, eos_token_id=6)
    config = load_seq2seq(tmp_path).config
    assert (config.bos_id, config.eos_id) == (5, 6)
