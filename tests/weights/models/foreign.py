"""Tiny random checkpoints of other people's encoder-decoders, as transformers writes them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from torch import Tensor

VOCABULARY = 60
T5: dict[str, Any] = {
    "vocab_size": VOCABULARY, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 3, "num_decoder_layers": 2,
    "num_heads": 4, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
}  # fmt: skip
BART: dict[str, Any] = {
    "vocab_size": VOCABULARY, "d_model": 16, "encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 32,
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": None,
}  # fmt: skip
MARIAN = {"pad_token_id": VOCABULARY - 1, "decoder_start_token_id": VOCABULARY - 1, "eos_token_id": 0}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "T5 relu tied": ("T5ForConditionalGeneration", T5),
    "T5 gated-gelu untied": ("T5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-gelu"}),
    "BART": ("BartForConditionalGeneration", BART),
    "BART scaled": ("BartForConditionalGeneration", {**BART, "scale_embedding": True, "activation_function": "relu"}),
    "mBART": ("MBartForConditionalGeneration", {**BART, "scale_embedding": True, "activation_function": "gelu_new"}),
    "Marian": ("MarianMTModel", {**BART, **MARIAN, "scale_embedding": True, "activation_function": "swish"}),
}


def make(kind: str, directory: Path, shards: str = "1GB", **changes: Any) -> Any:
    """A random model of a kind, saved to the directory; returns transformers' own."""
    transformers = pytest.importorskip("transformers")
    name, options = KINDS[kind]
    model_class = getattr(transformers, name)
    config = model_class.config_class(**{**options, **changes})
    model = model_class(config)
    if "untied" in kind:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        config.scale_decoder_outputs = False
    generator = torch.Generator().manual_seed(len(kind))
    with torch.no_grad():
        for tensor in (*model.parameters(), *(b for n, b in model.named_buffers() if n == "final_logits_bias")):
            if tensor.requires_grad or (tensor.dim() == 2 and tensor.shape[0] == 1):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3 + (tensor.dim() == 1))
    model.eval().save_pretrained(directory, max_shard_size=shards)
    if "untied" in kind:  # as older programs wrote it
        edit(directory, drop=("scale_decoder_outputs",), tie_word_embeddings=False)
    return model


def edit(directory: Path, name: str = "config.json", drop: tuple[str, ...] = (), **changes: Any) -> None:
    """Change keys of a JSON file."""
    path = directory / name
    told = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({k: v for k, v in told.items() if k not in drop} | changes))


def sources(pad: int, eos: int, rows: int = 4, longest: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Source ids B S of several lengths, padded on the right, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY - 1, (rows, longest), generator=generator)
    mask = torch.zeros_like(ids)
    for row in range(rows):
        length = longest - 5 * row
        ids[row, length - 1 :] = pad
        ids[row, length - 1] = eos
        mask[row, :length] = 1
    return ids, mask


TEXTS = [
    "The cat sleeps in the garden of the house.", "A dog runs fast, and the bird sings a song.",
    "Le chat dort dans le jardin.", "Nobody knows the trouble that he has seen!",
    "translate English to French: summarize:",
] * 6  # fmt: skip


def train_pieces(path: Path, **options: Any) -> int:
    """A little SentencePiece model; the number of its pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=80, hard_vocab_limit=False, minloglevel=2,
        **options,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    return int(sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size())


def t5_directory(directory: Path, **told: Any) -> Any:
    """A T5 with spiece.model; told: keys of its config.json. Returns transformers' model."""
    train_pieces(directory / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    theirs = make("T5 relu tied", directory, vocab_size=200, n_positions=64)
    edit(directory, **told)
    return theirs


def mbart_directory(directory: Path, languages: int) -> Any:
    """An mBART (25 languages) or mBART-50 (52)."""
    size = train_pieces(directory / "sentencepiece.bpe.model")
    return make("mBART", directory, vocab_size=size + languages + 2)


def marian_directory(directory: Path, codes: tuple[str, ...] = (), **told: Any) -> Any:
    """A Marian from English; told: keys of its tokenizer_config.json."""
    train_pieces(directory / "source.spm")
    train_pieces(directory / "target.spm")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(directory / "source.spm"))
    names = ["</s>", "<unk>", *(pieces.id_to_piece(i) for i in range(3, len(pieces))), *codes, "<pad>"]
    (directory / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    (directory / "tokenizer_config.json").write_text(json.dumps({"source_lang": "en", **told}))
    pad = len(names) - 1
    return make("Marian", directory, vocab_size=len(names), pad_token_id=pad, decoder_start_token_id=pad)


def bart_directory(directory: Path, **told: Any) -> Any:
    """A BART with a byte-level tokenizer.json; told: keys of its config.json."""
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        TEXTS, 300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False
    )
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    theirs = make("BART", directory, vocab_size=tokenizer.get_vocab_size())
    edit(directory, **told)
    return theirs


def generated(theirs: Any, source: list[int], never: list[int], **options: Any) -> list[int]:
    """What transformers says greedily after one source, all ids that it says; never: ids that may not occur."""
    wanted = {
        "do_sample": False, "num_beams": 1, "min_new_tokens": 1, "suppress_tokens": never or None, **options,
    }  # fmt: skip
    return list(theirs.generate(input_ids=torch.tensor([source]), **wanted)[0].tolist())
