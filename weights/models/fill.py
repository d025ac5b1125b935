"""What stands behind the masks of a text: the likeliest pieces, and the text with them."""

from dataclasses import dataclass
from pathlib import Path

import torch

from engine.tokenizer import SentencePieceTokenizer
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import open_encoder
from weights.models.hf_tokenizers import TextTokenizer, unsayable
from weights.models.reading import MASKS, Reader

WORD_BEGINS = ("▁", "Ġ")  # what stands for the space before a word, in SentencePiece and in byte-level BPE
CONTINUES = "##"  # before a piece that goes on with the word before it, as BERT's vocabulary writes it


@dataclass(frozen=True)
class Guess:
    """One piece that may stand at a mask. text: the piece as it reads; filled: the whole line with it there."""

    text: str
    probability: float
    continues: bool  # goes on with the word before it
    filled: str

    @property
    def shown(self) -> str:
        """The piece, marked where it continues a word."""
        return CONTINUES + self.text if self.continues else self.text


class Filler:
    """An encoder and its tokenizer, at the question which piece a mask hides."""

    def __init__(self, model: Encoder, tokenizer: TextTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.reader = Reader(tokenizer, model.config)
        own = isinstance(tokenizer, SentencePieceTokenizer)
        pieces = (tokenizer.piece(i) for i in range(model.config.vocab_size))
        self._is_wordpiece = not own and any(p.startswith(CONTINUES) for p in pieces)  # it marks what goes on
        self._never = torch.tensor(unsayable(tokenizer, model.config.vocab_size))

    @classmethod
    def load(cls, directory: Path) -> "Filler":
        """The filler in a directory. Raises CheckpointError or TokenizerError for one that cannot be used."""
        return cls(*open_encoder(directory))

    def fill(self, line: str, top: int = 5) -> list[list[Guess]]:
        """The `top` guesses for each mask of a line, the likeliest first.

        Several masks are answered from left to right, each with the best guesses before it in their places. Raises
        UsageError for a line without a mask, and for one with more tokens than the model reads.
        """
        ids = self.reader.masked_ids(line)
        answers: list[list[Guess]] = []
        while MASKS.search(line):
            place = ids.index(self.model.config.mask_id)
            probs, best = self.probs(ids, place).topk(top)
            answers.append([self._guess(line, t, p) for t, p in zip(best.tolist(), probs.tolist(), strict=True)])
            ids[place], line = int(best[0]), answers[-1][0].filled
        return answers

    @torch.no_grad()
    def probs(self, ids: list[int], place: int) -> torch.Tensor:
        """How likely each token of the vocabulary is at one place (V); control tokens cannot be there."""
        states = self.model.hidden(torch.tensor([ids]))[0, place]
        return self.model.logits(states).float().index_fill(-1, self._never, -torch.inf).softmax(-1)

    def _guess(self, line: str, token: int, probability: float) -> Guess:
        """A token in place of the first mask of a line."""
        mask = MASKS.search(line)
        assert mask is not None
        before, after = line[: mask.start()], line[mask.end() :]
        name, piece = self.tokenizer.piece(token), self.tokenizer.decode([token])
        if self._is_wordpiece and name.startswith(CONTINUES):
            return Guess(name[2:], probability, True, before + name[2:] + after)
        begins = self._is_wordpiece or name[:1] in WORD_BEGINS
        text = piece.strip(" ") or piece
        continues = not begins and before[-1:].isalnum() and text[:1].isalnum()
        space = " " if begins and before else ""
        return Guess(text, probability, continues, before + space + text + after)
