"""Tiny tokenizers, checkpoints and engines, made once; the helpers of tiny.py and formula.py on the path."""

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece
import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)

from tiny import TINY, tiny_model  # noqa: E402

from engine.api import Engine, load_engine  # noqa: E402
from engine.checkpoint import save_checkpoint  # noqa: E402
from engine.template import TFM  # noqa: E402
from engine.tokenizer import SentencePieceTokenizer  # noqa: E402
from weights.data.vocabulary import train_tokenizer  # noqa: E402

TEXT = [
    "The quick brown fox jumps over the lazy dog. To extract an archive, type tar -xf name.tar.gz at the prompt.",
    "find . -size +100M lists the large files below the current folder; the list may be long, so pipe it into less.",
    "Who are you? I am a small language model. The model is small, and the answer to the question is in the text.",
    "  Indented lines,  double spaces and\ttabs are kept.\nA new line is a token. Crème brûlée, naïve, 你好, 😀.",
]


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer.model as this project trains it: byte fallback, identity normalisation, no dummy prefix."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer(TEXT * 4, 400, path, threads=1)
    return path


@pytest.fixture(scope="session")
def tokenizer(tokenizer_path: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(tokenizer_path)


@pytest.fixture(scope="session")
def llama2_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer.model as that of Llama 2: a space is put before every text, no controls but <s> and </s>."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 4),
        model_writer=model,
        model_type="bpe",
        vocab_size=380,
        byte_fallback=True,
        character_coverage=0.99,
        normalization_rule_name="identity",
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("llama2") / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="session")
def llama2_tokenizer(llama2_path: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(llama2_path)


@pytest.fixture(scope="session")
def engine_dir(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Path) -> Path:
    """A whole checkpoint of random weights that can chat; a vocabulary padded to 416. Not to be changed."""
    end = SentencePieceTokenizer(tokenizer_path).control_id("<|end|>")
    config = replace(TINY, vocab_size=416, eos_ids=(2, end), max_positions=512)
    directory = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save_checkpoint(
        directory, tiny_model(config), tokenizer_path=tokenizer_path, template=TFM, dtype=torch.float32,
        generation={"temperature": 0.8, "top_k": 40},
    )  # fmt: skip
    return directory


@pytest.fixture
def engine(engine_dir: Path) -> Engine:
    """A fresh engine, with cold caches."""
    return load_engine(engine_dir, dtype="float32")


@pytest.fixture
def make_engine(engine_dir: Path) -> Callable[..., Engine]:
    """Fresh engines of the same checkpoint, with other options."""
    return lambda **options: load_engine(engine_dir, **({"dtype": "float32"} | options))
