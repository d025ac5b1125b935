"""Training of the tokenizer: a SentencePiece BPE with byte fallback that gives back every text as it was."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sentencepiece

from engine.errors import DataError
from engine.template import TFM

CONTROL_PIECES = (*(c for c in TFM.controls if c not in (TFM.bos, TFM.end_of_turn)), TFM.end_of_turn)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, path: Path, threads: int = 2, controls: Sequence[str] = CONTROL_PIECES
) -> None:
    """Write a tokenizer.model of `vocab_size` pieces learned from texts.

    Identity normalisation and no dummy prefix, so that decode(encode(x)) == x; digits alone, so that numbers are
    read digit by digit; the newline is a piece of its own. Raises DataError when there is too little text.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_lines(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            byte_fallback=True,
            character_coverage=0.9995,
            required_chars="".join(map(chr, range(33, 127))),  # a rare capital still has a piece: names have them
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=True,
            user_defined_symbols=["\n"],
            control_symbols=list(controls),
            unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
            max_sentence_length=1 << 16,
            num_threads=threads,
            minloglevel=2,
        )  # fmt: skip
    except RuntimeError as e:
        raise DataError(f"The tokenizer could not be trained: {str(e).splitlines()[0]}") from e
    path.parent.mkdir(parents=True, exist_ok=True)
    half_written = path.with_suffix(".tmp")
    half_written.write_bytes(model.getvalue())
    os.replace(half_written, path)


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """SentencePiece learns from lines; the newline itself is given to it as a piece."""
    for text in texts:
        yield from (line for line in text.split("\n") if line.strip())
