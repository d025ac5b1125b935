"""Tiny tokenizers in tokenizer.json: byte-level BPE, BPE with byte fallback as Llama 2, Unigram with Metaspace."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from engine.tokenizer_json import JsonTokenizer

TEXT = [
    "The quick brown fox jumps over the lazy dog. To extract an archive, type tar -xf name.tar.gz at the prompt.",
    "Who are you? I am a small language model. The model is small, and the answer to the question is in the text.",
    "  Indented lines,  double spaces and\ttabs are kept.\n\nA new line is a token. Crème brûlée, naïve, 你好, 😀.",
    "user\nassistant\nsystem\nmodel\nHello there, friend. How are you? Be brief.",
] * 4


def byte_level(home: Path, controls: Sequence[Any], texts: Sequence[str] = (), **options: Any) -> JsonTokenizer:
    """GPT-2's kind. texts: added tokens that are no control tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=options.get("space", False))
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=list(controls), show_progress=False
    )
    backend.train_from_iterator(TEXT, trainer)
    backend.add_tokens([AddedToken(text, normalized=False) for text in texts])
    if bos := options.get("bos"):
        pair = (bos, backend.token_to_id(bos))
        backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[pair])
    return saved(backend, home)


def llama(home: Path, *, metaspace: str = "", controls: Sequence[str] = ("<unk>", "<s>", "</s>")) -> JsonTokenizer:
    """BPE with byte fallback. metaspace: its prepend_scheme; without one the normaliser puts ▁ before each text."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=620, special_tokens=[*controls, *fallback], limit_alphabet=70, show_progress=False
    )
    words = [word for text in TEXT for word in text.split(" ")]
    backend.train_from_iterator(words, trainer)
    backend = _only_special(backend, controls)
    strip = [decoders.Strip(content=" ", left=1)]
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    if metaspace:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=metaspace, split=False)
    else:
        backend.pre_tokenizer = None
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return saved(backend, home)


def _only_special(backend: Tokenizer, controls: Sequence[str]) -> Tokenizer:
    """The byte pieces are pieces of the vocabulary and no added tokens."""
    import json

    told = json.loads(backend.to_str())
    told["added_tokens"] = [t for t in told["added_tokens"] if t["content"] in controls]
    return Tokenizer.from_str(json.dumps(told))


def unigram(home: Path, controls: Sequence[str] = ("<unk>", "<s>", "</s>")) -> JsonTokenizer:
    """Unigram with Metaspace; the control tokens stand in the vocabulary itself, as T5's and Albert's do."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=list(controls), unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(TEXT, trainer)
    return saved(backend, home)


def saved(backend: Tokenizer, home: Path) -> JsonTokenizer:
    """The tokenizer, written to a directory and read from it."""
    home.mkdir(parents=True, exist_ok=True)
    backend.save(str(home / "tokenizer.json"))
    return JsonTokenizer.from_dir(home)
