"""The tokenizers that come with encoder-decoders in Hugging Face's layout: three kinds of files behind one seam.

SentencePiece models (T5's ids as they are, mBART's moved by one), SentencePiece pieces numbered by a vocab.json
(Marian), and tokenizer.json, which the package `tokenizers` reads (extra [hf]).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from engine.checkpoint import read_json
from engine.errors import TokenizerError
from engine.tokenizer import SentencePieceTokenizer

# The languages of mBART (25) and of mBART-50, in the order of their ids.
MBART_LANGUAGES = (
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN", "it_IT", "ja_XX",
    "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR", "vi_VN",
    "zh_CN",
)  # fmt: skip
MBART_50_LANGUAGES = (
    *MBART_LANGUAGES,
    "af_ZA", "az_AZ", "bn_IN", "fa_IR", "he_IL", "hr_HR", "id_ID", "ka_GE", "km_KH", "mk_MK", "ml_IN", "mn_MN",
    "mr_IN", "pl_PL", "ps_AF", "pt_XX", "sv_SE", "sw_KE", "ta_IN", "te_IN", "th_TH", "tl_XX", "uk_UA", "ur_PK",
    "xh_ZA", "gl_ES", "sl_SI",
)  # fmt: skip


UNKNOWN = ("<unk>", "[UNK]")


class TextTokenizer(Protocol):
    """What translating and summarising ask of a tokenizer. Encoding text never yields a control token."""

    def encode(self, text: str) -> list[int]:
        """Ids of a source text, without the controls around it."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of target ids; control tokens have none."""

    def control_id(self, name: str) -> int | None:
        """The id of a control token by name; None when there is none of that name."""

    def is_control(self, token: int) -> bool:
        """Whether a token is a control token."""

    def piece(self, token: int) -> str:
        """The name of a token; "<id>" for an id that has no piece."""


def unsayable(tokenizer: TextTokenizer, vocab_size: int) -> list[int]:
    """The ids of a model's vocabulary that are no text: controls, the unknown piece, ids without a piece."""
    return [i for i in range(vocab_size) if tokenizer.is_control(i) or tokenizer.piece(i) in (*UNKNOWN, f"<{i}>")]


class FairseqTokenizer:
    """mBART's: <s> <pad> </s> <unk>, then the pieces of a SentencePiece model, the languages, and <mask>.

    languages is told by the size of the model's vocabulary. Raises TokenizerError when neither list fits.
    """

    def __init__(self, path: Path, vocab_size: int) -> None:
        self._pieces = SentencePieceTokenizer(path)
        size = self._pieces.vocab_size  # its first three are <unk> <s> </s>; all others move up by one
        fitting = [lang for lang in (MBART_LANGUAGES, MBART_50_LANGUAGES) if size + len(lang) + 2 == vocab_size]
        if not fitting:
            raise TokenizerError(
                f"{path} has {size} pieces; with 25 or 52 languages that is no vocabulary of {vocab_size}."
            )
        names = ["<s>", "<pad>", "</s>", "<unk>"]
        self._controls = dict(zip(names, range(4), strict=True))
        self._controls |= {name: size + 1 + i for i, name in enumerate([*fitting[0], "<mask>"])}
        self._names = {i: name for name, i in self._controls.items()}

    def encode(self, text: str) -> list[int]:
        """Ids of the text; a piece that the model does not know is <unk>."""
        return [token + 1 if token > 2 else self._controls["<unk>"] for token in self._pieces.encode(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; control tokens have none."""
        return self._pieces.decode([token - 1 for token in ids if token not in self._names])

    def control_id(self, name: str) -> int | None:
        """The id of a control token by name, a language's code among them."""
        return self._controls.get(name)

    def is_control(self, token: int) -> bool:
        """Whether a token is a control token."""
        return token in self._names

    def piece(self, token: int) -> str:
        """The name of a token."""
        return self._names.get(token) or (f"<{token}>" if token < 0 else self._pieces.piece(token - 1))


class MarianTokenizer:
    """Marian's: pieces of source.spm for the source, numbered by vocab.json, which the target's pieces share.

    Raises TokenizerError for a file that is missing or damaged, or a vocabulary without <unk>.
    """

    def __init__(self, directory: Path) -> None:
        self._pieces = SentencePieceTokenizer(directory / "source.spm")
        if not (directory / "vocab.json").is_file():
            raise TokenizerError(f"There is no vocab.json in {directory}.")
        vocabulary = read_json(directory / "vocab.json")
        if not all(isinstance(i, int) for i in vocabulary.values()) or "<unk>" not in vocabulary:
            raise TokenizerError(f"{directory / 'vocab.json'} numbers no pieces, or has no <unk>.")
        self._ids: dict[str, int] = vocabulary
        self._names = {i: name for name, i in vocabulary.items()}
        self.targets = {n[2:-2]: i for n, i in vocabulary.items() if n.startswith(">>") and n.endswith("<<")}
        self._controls = {n: i for n, i in vocabulary.items() if n in ("<unk>", "</s>", "<s>", "<pad>")}
        self._controls |= {f">>{name}<<": i for name, i in self.targets.items()}

    def encode(self, text: str) -> list[int]:
        """Ids of the text; a piece that is not in the vocabulary, or is a control's name, is <unk>."""
        unknown = self._controls["<unk>"]
        return [
            unknown if piece in self._controls else self._ids.get(piece, unknown) for piece in self._pieces.pieces(text)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; control tokens have none."""
        pieces = (self._names.get(i, "") for i in ids if not self.is_control(i))
        return "".join(pieces).replace("▁", " ").strip()

    def control_id(self, name: str) -> int | None:
        """The id of a control token by name, such as </s> or >>fra<<."""
        return self._controls.get(name)

    def is_control(self, token: int) -> bool:
        """Whether a token is a control token."""
        return self._names.get(token) in self._controls

    def piece(self, token: int) -> str:
        """The name of a token."""
        return self._names.get(token, f"<{token}>")


class JsonTokenizer:
    """A tokenizer.json, such as BART's byte-level BPE, by the package `tokenizers`.

    Raises TokenizerError when the file or the package is missing, or the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise TokenizerError(f"There is no {path.name} in {path.parent}.")
        try:
            import tokenizers
        except ImportError as e:
            raise TokenizerError(f"{path} needs the package tokenizers.", "Install the extra tfm[hf].") from e
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        except Exception as e:  # the package raises nothing narrower
            raise TokenizerError(f"{path} is no readable tokenizer.json: {e}.") from e
        self._tokenizer.encode_special_tokens = True  # a control's name in a text is text
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        added = self._tokenizer.get_added_tokens_decoder()
        self._controls = {token.content: i for i, token in added.items() if token.special}
        self._names = {i: name for name, i in self._controls.items()}

    def encode(self, text: str) -> list[int]:
        """Ids of the text; a control's name in it is spelt, also where the vocabulary has it among the pieces."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        ids: list[int] = []
        for token in self._tokenizer.encode(clean, add_special_tokens=False).ids:
            name = self._names.get(token)
            ids += (
                [token] if name is None or name in UNKNOWN else [i for c in name if (i := self._letter(c)) is not None]
            )
        return ids

    def _letter(self, letter: str) -> int | None:
        found: int | None = self._tokenizer.token_to_id(letter)
        unknown = [self._controls[name] for name in UNKNOWN if name in self._controls]
        return found if found is not None or not unknown else unknown[0]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; control tokens have none."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def control_id(self, name: str) -> int | None:
        """The id of a control token by name."""
        return self._controls.get(name)

    def is_control(self, token: int) -> bool:
        """Whether a token is a control token."""
        return token in self._names

    def piece(self, token: int) -> str:
        """The name of a token."""
        return self._tokenizer.id_to_token(token) or f"<{token}>"


def read_tokenizer(directory: Path, sentencepiece: str, vocab_size: int) -> TextTokenizer:
    """The tokenizer of a checkpoint directory, from what lies there.

    sentencepiece: the name that the family gives its SentencePiece model, or "" where it has none. tokenizer.json
    serves where that is missing. Raises TokenizerError when there is neither.
    """
    if sentencepiece and (directory / sentencepiece).is_file():
        if sentencepiece == "source.spm":
            return MarianTokenizer(directory)
        if sentencepiece == "sentencepiece.bpe.model":
            return FairseqTokenizer(directory / sentencepiece, vocab_size)
        return SentencePieceTokenizer(directory / sentencepiece)
    if (directory / "tokenizer.json").is_file():
        return JsonTokenizer(directory / "tokenizer.json")
    wanted = f"neither {sentencepiece} nor" if sentencepiece else "no"
    raise TokenizerError(f"There is {wanted} tokenizer.json in {directory}.")
