"""tokenizer_config.json and its companions: names of special tokens, added tokens, chat templates. Torch-free.

Read as data and nothing else; what the tokens mean to a tokenizer is the tokenizer's matter, and a template is only
text here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import TemplateError, TokenizerError

CONFIG = "tokenizer_config.json"
OLD_NAMES = "special_tokens_map.json"
TEMPLATE = "chat_template.jinja"
MORE_TEMPLATES = "additional_chat_templates"


@dataclass(frozen=True)
class Control:
    """A control token. lstrip, rstrip: in a template it takes the white space on that side with it."""

    id: int
    lstrip: bool = False
    rstrip: bool = False


@dataclass(frozen=True)
class AddedPiece:
    """One token of `added_tokens_decoder`. lstrip, rstrip: it takes the white space on that side with it."""

    content: str
    special: bool
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    single_word: bool = False


@dataclass(frozen=True)
class TokenizerConfig:
    """What a checkpoint directory says of its tokenizer beside the tokenizer's own file.

    special_tokens: "bos_token" -> "<s>" and so on. adds_bos: None when it is not said.
    """

    special_tokens: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[int, AddedPiece] = field(default_factory=dict)
    adds_bos: bool | None = None


def read_tokenizer_config(directory: Path) -> TokenizerConfig:
    """What tokenizer_config.json says; empty when there is none. Raises TokenizerError when it is damaged."""
    names: dict[str, str] = {}
    told: dict[str, Any] = {}
    added: dict[int, AddedPiece] = {}
    path = directory / CONFIG
    try:
        for path in (directory / OLD_NAMES, directory / CONFIG):  # the second says it better
            if path.is_file():
                told = json.loads(path.read_text(encoding="utf-8"))
                names |= _names(told)
        if path.is_file():
            added = {int(i): _added(entry) for i, entry in told.get("added_tokens_decoder", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise TokenizerError(f"{path} cannot be read: {e}.") from e
    adds_bos = told.get("add_bos_token") if path.is_file() else None
    return TokenizerConfig(names, added, adds_bos if isinstance(adds_bos, bool) else None)


def _names(told: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens that are named, each a text or a description with its text in `content`."""
    pairs = ((k, v.get("content") if isinstance(v, dict) else v) for k, v in told.items() if k.endswith("_token"))
    return {key: content for key, content in pairs if isinstance(content, str)}


def _added(entry: Mapping[str, Any]) -> AddedPiece:
    flags = {k: bool(entry.get(k)) for k in ("special", "lstrip", "rstrip", "normalized", "single_word")}
    return AddedPiece(str(entry["content"]), **flags)


def read_chat_templates(directory: Path) -> dict[str, str]:
    """The Jinja templates of a checkpoint directory by name; its only or usual one is called "default".

    chat_template.jinja counts before tokenizer_config.json, as in transformers. Raises TemplateError when a file
    cannot be read.
    """
    found: dict[str, str] = {}
    path = directory / CONFIG
    try:
        if path.is_file():
            said = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
            if isinstance(said, str):
                found["default"] = said
            elif isinstance(said, list):
                found |= {str(entry["name"]): str(entry["template"]) for entry in said}
        for path in sorted((directory / MORE_TEMPLATES).glob("*.jinja")):
            found[path.stem] = path.read_text(encoding="utf-8")
        if (path := directory / TEMPLATE).is_file():
            found["default"] = path.read_text(encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise TemplateError(f"The chat template in {path} cannot be read: {e}.") from e
    return {name: text for name, text in found.items() if text}
