"""Text to ids and back. Encoding text never yields a control token; control tokens come only from templates."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import sentencepiece

from engine.errors import TemplateError, TokenizerError
from engine.template import Segment
from engine.tokenizer_config import Control, read_tokenizer_config


class Encoder(Protocol):
    """What turns segments into ids. A text within a prompt may be encoded in another way than one that begins it."""

    def encode(self, text: str) -> list[int]: ...
    def encode_within(self, text: str) -> list[int]: ...
    def control_id(self, name: str) -> int | None: ...


class Tokenizer(Encoder, Protocol):
    """What the engine asks of a tokenizer."""

    path: Path
    vocab_size: int
    controls: Mapping[str, Control]  # by name
    special_tokens: Mapping[str, str]  # what a template may ask for: "bos_token" -> "<s>"
    adds_space_prefix: bool  # whether encoding puts a space before the text that decoding takes away again
    adds_bos: bool  # whether a raw text begins with BOS

    def decode(self, ids: Sequence[int]) -> str: ...
    def piece(self, token: int) -> str: ...
    def token_bytes(self, token: int) -> bytes: ...
    def is_control(self, token: int) -> bool: ...


class SentencePieceTokenizer:
    """A SentencePiece model (Kudo & Richardson 2018), with control tokens added by tokenizer_config.json if any.

    Raises TokenizerError when the file is missing or no SentencePiece model.
    """

    def __init__(
        self, path: Path, added_controls: Mapping[str, int | Control] | None = None, *, adds_bos: bool = True,
        special_tokens: Mapping[str, str] | None = None, proto: bytes | None = None,
    ) -> None:  # fmt: skip
        """proto: the model itself, where it is not the file at `path` but in it."""
        self.path = path
        self.adds_bos = adds_bos
        try:
            data = path.read_bytes() if proto is None else proto
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=data)
            first = self._processor.encode("a", out_type=str) if data else None
        except FileNotFoundError as e:
            raise TokenizerError(f"There is no tokenizer at {path}.") from e
        except (OSError, RuntimeError) as e:
            raise TokenizerError(f"{path} is not a readable SentencePiece model.") from e
        if first is None:
            raise TokenizerError(f"{path} is empty.")
        size = self._processor.get_piece_size()
        given = {n: c if isinstance(c, Control) else Control(c) for n, c in (added_controls or {}).items()}
        self._added = {control.id: name for name, control in given.items() if control.id >= size}
        self.vocab_size = max([size, *(i + 1 for i in self._added)])
        own = {self._processor.id_to_piece(i): Control(i) for i in range(size) if self._processor.is_control(i)}
        described = {name: c for name, c in given.items() if c.id >= size or own.get(name, Control(-1)).id == c.id}
        self.controls: Mapping[str, Control] = own | described
        ends = {"bos_token": self._processor.bos_id(), "eos_token": self._processor.eos_id()}
        named = {key: self._processor.id_to_piece(i) for key, i in ends.items() if i >= 0}
        self.special_tokens: Mapping[str, str] = named | dict(special_tokens or {})
        self.adds_space_prefix = bool(first) and first[0].startswith("▁")
        self._bytes = lru_cache(maxsize=None)(self._token_bytes)
        # SentencePiece writes a space as ▁, so a ▁ that was typed would come back as a space: it goes in as its bytes.
        mark = [int(self._processor.piece_to_id(f"<0x{byte:02X}>")) for byte in "▁".encode()]
        self._mark = mark if all(map(self._processor.is_byte, mark)) and not self.adds_space_prefix else []

    @classmethod
    def from_dir(cls, directory: Path) -> "SentencePieceTokenizer":
        """The tokenizer.model of a checkpoint directory, with the control tokens of its tokenizer_config.json."""
        config = read_tokenizer_config(directory)
        return cls(
            directory / "tokenizer.model",
            {p.content: Control(i, p.lstrip, p.rstrip) for i, p in config.added.items() if p.special},
            adds_bos=config.adds_bos is not False,  # what a Llama tokenizer does when its config does not say
            special_tokens=config.special_tokens,
        )

    def encode(self, text: str) -> list[int]:
        """Ids of the text; no control token, whatever the text says."""
        if "▁" in text and self._mark:
            first, *rest = (self.encode(part) for part in text.split("▁"))
            return first + [token for part in rest for token in (*self._mark, *part)]
        try:
            return list(self._processor.encode(text))
        except (UnicodeEncodeError, RuntimeError):  # a lone surrogate has no UTF-8 form
            return list(self._processor.encode(text.encode("utf-8", "replace").decode("utf-8")))

    def pieces(self, text: str) -> list[str]:
        """The text in pieces; one that the model does not know stands as it is."""
        return list(self._processor.encode(text.encode("utf-8", "replace").decode("utf-8"), out_type=str))

    def encode_within(self, text: str) -> list[int]:
        """The same: this tokenizer puts its space, if any, before each text (what transformers calls legacy)."""
        return self.encode(text)

    def encode_batch(self, texts: Sequence[str], threads: int = -1) -> list[list[int]]:
        """`encode` of many texts, in parallel."""
        try:
            encoded = list(self._processor.encode(list(texts), num_threads=threads))
        except (UnicodeEncodeError, RuntimeError):
            return [self.encode(text) for text in texts]
        return [self.encode(t) if "▁" in t else ids for t, ids in zip(texts, encoded, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids. Control tokens have none; bytes that are not UTF-8 become U+FFFD."""
        text = b"".join(self.token_bytes(i) for i in ids).decode("utf-8", "replace")
        return text[1:] if self.adds_space_prefix and text.startswith(" ") else text

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes that a token stands for; empty for control tokens and ids without a piece."""
        return self._bytes(token)

    def _token_bytes(self, token: int) -> bytes:
        if not 0 <= token < self._processor.get_piece_size() or self._processor.is_control(token):
            return b""
        if self._processor.is_unknown(token):
            return " ⁇ ".encode()
        piece = str(self._processor.id_to_piece(token))
        if self._processor.is_byte(token):
            return bytes([int(piece[3:5], 16)])  # "<0x41>"
        return piece.replace("▁", " ").encode()

    def piece(self, token: int) -> str:
        """The name of a token, for people: its piece, or the name of a control token."""
        if token in self._added:
            return self._added[token]
        if not 0 <= token < self._processor.get_piece_size():
            return f"<{token}>"
        return str(self._processor.id_to_piece(token))

    def proto(self) -> bytes:
        """The SentencePiece model as a tokenizer.model holds it."""
        return bytes(self._processor.serialized_model_proto())

    def control_id(self, name: str) -> int | None:
        """The id of a control token by name; None when there is none of that name."""
        control = self.controls.get(name)
        return None if control is None else control.id

    def is_control(self, token: int) -> bool:
        """Whether a token is a control token."""
        return token in self._added or (
            0 <= token < self._processor.get_piece_size() and bool(self._processor.is_control(token))
        )


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a checkpoint directory: tokenizer.json where there is one, else tokenizer.model.

    tokenizer.json says all of it: added tokens that are text, which texts get a space before them (a tokenizer.model
    cannot say whether only the first does: `legacy`), and what the splitting is; transformers and vLLM run it, so
    the ids here are those the model was used with. Without the package `tokenizers` a tokenizer.model beside it is
    taken. Raises TokenizerError when there is neither, or none that can be used.
    """
    if (directory / "tokenizer.json").is_file():
        if find_spec("tokenizers") is not None:
            from engine.tokenizer_json import JsonTokenizer

            return JsonTokenizer.from_dir(directory)
        if not (directory / "tokenizer.model").is_file():
            raise TokenizerError(
                f"{directory / 'tokenizer.json'} needs the package tokenizers.", "Install it: pip install 'tfm[hf]'."
            )
    return SentencePieceTokenizer.from_dir(directory)


def encode_segments(tokenizer: Encoder, segments: Iterable[Segment]) -> list[int]:
    """Ids of a rendered conversation. Raises TemplateError when the tokenizer lacks a control token."""
    ids: list[int] = []
    for place, segment in enumerate(segments):
        if segment.ids is not None:
            ids += segment.ids
        elif segment.control:
            token = tokenizer.control_id(segment.text)
            if token is None:
                raise TemplateError(
                    f"The template needs the control token {segment.text}, which this tokenizer does not have.",
                    "Choose another with --template, or use --raw.",
                )
            ids.append(token)
        else:
            ids += tokenizer.encode_within(segment.text) if place else tokenizer.encode(segment.text)
    return ids
