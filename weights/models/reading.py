"""Text as an encoder reads it: the begin token, the pieces, the end token; rows padded to one width."""

import re
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from engine.errors import UsageError
from weights.models.config import EncoderConfig
from weights.models.hf_tokenizers import TextTokenizer

AT_ONCE = 4096  # padded positions in one forward pass
PAD, MASK = "<pad>", "<mask>"
CONTROLS = (PAD, MASK)  # beside <s> and </s>, which begin and end a text as BERT's [CLS] and [SEP] do
MASKS = re.compile(r" ?(?:\[MASK\]|<mask>)")  # a piece carries the space before it, so a mask does too


class Reader:
    """A tokenizer with the control tokens of an encoder."""

    def __init__(self, tokenizer: TextTokenizer, config: EncoderConfig) -> None:
        self.tokenizer, self.config = tokenizer, config

    def ids(self, text: str) -> list[int]:
        """Ids of one text; control tokens that it spells are plain text."""
        return self._framed(self.tokenizer.encode(text))

    def cut(self, text: str) -> list[int]:
        """Ids of one text, or of its beginning where it is too long."""
        return self._framed(self.tokenizer.encode(text)[: self.config.max_positions - 2])

    def masked_ids(self, text: str) -> list[int]:
        """Ids of a text in which [MASK] or <mask> stands for the mask.

        Raises UsageError when there is none.
        """
        first, *rest = (self.tokenizer.encode(part) if part else [] for part in MASKS.split(text))
        if not rest:
            raise UsageError("There is no [MASK] in the line.", 'Write it where a word is missing: "a [MASK] of tea".')
        return self._framed([*first, *(token for part in rest for token in (self.config.mask_id, *part))])

    def pad(self, rows: Sequence[Sequence[int]], width: int | None = None) -> Tensor:
        """Rows of ids as B T, padded to `width` or as the longest needs; a longer one is cut, its end token kept."""
        width = width or max(map(len, rows))
        table = torch.full((len(rows), width), self.config.pad_id)
        for row, ids in zip(table, rows, strict=True):
            kept = ids if len(ids) <= width else [*ids[: width - 1], ids[-1]]
            row[: len(kept)] = torch.tensor(kept)
        return table

    def _framed(self, ids: Sequence[int]) -> list[int]:
        """The ids between begin and end token. Raises UsageError for more than the model has positions for."""
        room = self.config.max_positions
        if len(ids) + 2 > room:
            raise UsageError(f"The line has {len(ids) + 2} tokens, and the model reads at most {room}.", "Shorten it.")
        return [self.config.cls_id, *ids, self.config.sep_id]


def bundles(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Which rows share a forward pass: those of about one length, as many as AT_ONCE padded positions allow."""
    bundle: list[int] = []
    for index in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        if bundle and (len(bundle) + 1) * len(rows[index]) > AT_ONCE:
            yield bundle
            bundle = []
        bundle.append(index)
    if bundle:
        yield bundle
