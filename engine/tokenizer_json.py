"""A tokenizer from tokenizer.json, through the `tokenizers` library: what transformers runs for most models.

Encoding text never yields a control token: what is marked as special in the file is read as plain text, and every
result is looked at once more. Byte-level BPE (GPT-2's alphabet), BPE with byte fallback and Unigram with Metaspace.
Needs the extra [hf]; import this module only when there is a tokenizer.json. Torch-free.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from engine.errors import TokenizerError
from engine.thinking import CLOSE, OPEN
from engine.tokenizer_config import AddedPiece, Control, TokenizerConfig, read_tokenizer_config

FILE = "tokenizer.json"
LARGEST_FILE = 256 << 20  # bytes; the largest known has 35 MB
Step = Callable[[str], str]


class JsonTokenizer:
    """The tokenizer of a tokenizer.json, with what its tokenizer_config.json adds.

    Raises TokenizerError when the file is missing, damaged, or decodes in a way that is not known here.
    """

    def __init__(self, path: Path, config: TokenizerConfig | None = None, text: str | None = None) -> None:
        """text: what a tokenizer.json says, where it is not the file at `path` but made of it."""
        self.path = path
        config = config or TokenizerConfig()
        self.special_tokens: Mapping[str, str] = config.special_tokens
        text = _read(path) if text is None else text
        try:
            told = json.loads(text)
            self._backend = Backend.from_str(text)
            self._backend.no_truncation()
            self._backend.no_padding()
            unknown = told["model"].get("unk_token")
            unk_id = told["model"].get("unk_id")
            self._piece_bytes = _bytes_of_pieces(told)
        except TokenizerError as e:
            raise TokenizerError(f"{path}: {e.message}") from e
        except Exception as e:  # the library raises a plain Exception for a file that it cannot use
            raise TokenizerError(f"{path} is no tokenizer that can be used: {e}.") from e
        self._add(config)
        self._unknown = unk_id if unk_id is not None else self._id(unknown)
        added = self._backend.get_added_tokens_decoder()
        self._text_pieces = {i: token.content for i, token in added.items() if not token.special}
        ends = {config.special_tokens.get("bos_token"), config.special_tokens.get("eos_token")}
        self.controls: Mapping[str, Control] = {
            token.content: Control(i, token.lstrip, token.rstrip)
            for i, token in added.items()
            if token.special and (i != self._unknown or token.content in ends)
        }
        self._control_ids = frozenset(control.id for control in self.controls.values())
        self._control_names = {control.id: name for name, control in self.controls.items()}
        self.vocab_size = max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        begun = self._backend.encode("a").ids
        self.adds_bos = config.adds_bos if config.adds_bos is not None else bool(begun) and self.is_control(begun[0])
        self._backend.encode_special_tokens = True
        self._bytes = lru_cache(maxsize=None)(self._token_bytes)
        self._starts, self._goes_on = _pre_tokenizers(told, self._backend)
        first = self.encode("a")
        self.adds_space_prefix = bool(first) and self.token_bytes(first[0]).startswith(b" ")

    @classmethod
    def from_dir(cls, directory: Path) -> "JsonTokenizer":
        """The tokenizer.json of a checkpoint directory, with its tokenizer_config.json."""
        return cls(directory / FILE, read_tokenizer_config(directory))

    def _add(self, config: TokenizerConfig) -> None:
        """What the configuration adds, as transformers does: tokens with their ids, and named tokens as special."""
        for token, piece in sorted(config.added.items()):
            self._backend.add_tokens([_as_added(piece)])
            if self._id(piece.content) != token:
                raise TokenizerError(
                    f"{self.path}: {piece.content!r} has the id {self._id(piece.content)}, "
                    f"and {token} in tokenizer_config.json: they do not belong together."
                )
        known = {piece.content for piece in config.added.values()}
        known |= {token.content for token in self._backend.get_added_tokens_decoder().values()}
        for name in config.special_tokens.values():
            if name not in known and self._id(name) is not None:
                self._backend.add_special_tokens([AddedToken(name, special=True, normalized=False)])

    def _id(self, piece: str | None) -> int | None:
        return None if piece is None else self._backend.token_to_id(piece)

    def encode(self, text: str) -> list[int]:
        """Ids of a text that begins a prompt; no control token, whatever the text says."""
        return self._safely(text, self._starts)

    def encode_within(self, text: str) -> list[int]:
        """Ids of a text that something else stands before. No space is put there, where only a beginning has one."""
        return self._safely(text, self._goes_on)

    def _safely(self, text: str, pre_tokenizer: Any) -> list[int]:
        text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no UTF-8 form
        ids = self._plain(text, pre_tokenizer)
        if self._control_ids.isdisjoint(ids):
            return ids
        # The vocabulary itself holds a control token's text (Unigram): it is encoded in two halves.
        halves = re.split("|".join(f"(?<={re.escape(n[:1])})(?={re.escape(n[1:])})" for n in self.controls), text)
        ids = [i for n, half in enumerate(halves) for i in self._plain(half, self._goes_on if n else pre_tokenizer)]
        if self._control_ids.isdisjoint(ids):
            return ids
        name = self._control_names[next(i for i in ids if i in self._control_ids)]
        raise TokenizerError(f"{self.path}: a plain text is read as the control token {name}.")

    def _plain(self, text: str, pre_tokenizer: Any) -> list[int]:
        if self._starts is not self._goes_on:
            self._backend.pre_tokenizer = pre_tokenizer
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str], threads: int = -1) -> list[list[int]]:
        """`encode` of many texts. The library chooses its own threads."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids. Control tokens have none; bytes that are not UTF-8 become U+FFFD."""
        text = b"".join(self.token_bytes(i) for i in ids).decode("utf-8", "replace")
        return text[1:] if self.adds_space_prefix and text.startswith(" ") else text

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes that a token stands for; empty for control tokens and ids without a piece."""
        return self._bytes(token)

    def _token_bytes(self, token: int) -> bytes:
        if token in self._text_pieces:
            return self._text_pieces[token].encode()
        if self._control_names.get(token) in (OPEN, CLOSE):  # marked as special by some, and yet said
            return self._control_names[token].encode()
        silent = token < 0 or token == self._unknown or token in self._control_ids
        piece = None if silent else self._backend.id_to_token(token)
        return b"" if piece is None else self._piece_bytes(piece)

    def piece(self, token: int) -> str:
        """The name of a token, for people: its piece."""
        name = self._backend.id_to_token(token) if token >= 0 else None
        return f"<{token}>" if name is None else str(name)

    def described(self) -> dict[str, Any]:
        """The contents of a tokenizer.json for this tokenizer, with what its configuration added."""
        if self._starts is not self._goes_on:
            self._backend.pre_tokenizer = self._starts
        return json.loads(self._backend.to_str())  # type: ignore[no-any-return]

    def control_id(self, name: str) -> int | None:
        """The id of a control token by name; None when there is none of that name."""
        control = self.controls.get(name)
        return None if control is None else control.id

    def is_control(self, token: int) -> bool:
        """Whether a token is a control token."""
        return token in self._control_ids


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise TokenizerError(f"{path} has {path.stat().st_size:,} bytes, more than any tokenizer.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as e:
        raise TokenizerError(f"There is no tokenizer at {path}.") from e
    except (OSError, UnicodeDecodeError) as e:
        raise TokenizerError(f"{path} cannot be read: {e}.") from e


def _as_added(piece: AddedPiece) -> AddedToken:
    return AddedToken(
        piece.content, special=piece.special, lstrip=piece.lstrip, rstrip=piece.rstrip,
        normalized=piece.normalized, single_word=piece.single_word,
    )  # fmt: skip


def _steps(part: Mapping[str, Any] | None, inside: str) -> list[Mapping[str, Any]]:
    """The parts of a component of tokenizer.json, a sequence laid flat."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [step for each in part[inside] for step in _steps(each, inside)]


def _bytes_of_pieces(told: Mapping[str, Any]) -> Callable[[str], bytes]:
    """What a piece of the vocabulary stands for, as the file's decoder says.

    Raises TokenizerError for a decoder whose result for one token depends on its neighbours.
    """
    replacements: list[tuple[str, str]] = []
    fallback = False
    for step in _steps(told.get("decoder"), "decoders"):
        kind = step["type"]
        if kind == "ByteLevel":
            return _of_alphabet
        if kind == "Metaspace":
            replacements.append((step["replacement"], " "))
        elif kind == "Replace" and "String" in step["pattern"]:
            replacements.append((step["pattern"]["String"], step["content"]))
        elif kind == "ByteFallback":
            fallback = True
        elif kind not in ("Fuse", "Strip"):  # Strip takes the space away again that encoding put at the beginning
            raise TokenizerError(f"the decoder {kind} is not supported.")

    def of_piece(piece: str) -> bytes:
        if fallback and re.fullmatch("<0x[0-9A-F]{2}>", piece):
            return bytes([int(piece[3:5], 16)])
        for old, new in replacements:
            piece = piece.replace(old, new)
        return piece.encode("utf-8", "replace")

    return of_piece


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's one character for each byte: printable ones stand for themselves, the rest from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


BYTES = _byte_alphabet()


def _of_alphabet(piece: str) -> bytes:
    if all(char in BYTES for char in piece):
        return bytes(BYTES[char] for char in piece)
    return piece.encode("utf-8", "replace")


def _pre_tokenizers(told: Mapping[str, Any], backend: Backend) -> tuple[Any, Any]:
    """(for a text that begins a prompt, for one within it): other ones where only the beginning gets a space."""
    if not any(s.get("prepend_scheme") == "first" for s in _steps(told.get("pre_tokenizer"), "pretokenizers")):
        return None, None
    written = json.dumps(told["pre_tokenizer"]).replace('"prepend_scheme": "first"', '"prepend_scheme": "never"')
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    within = Backend.from_str(json.dumps({"model": empty, "pre_tokenizer": json.loads(written)}))
    return backend.pre_tokenizer, within.pre_tokenizer
