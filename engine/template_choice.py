"""Which chat template a model is read with, by what was asked for or by what its files say; never by a path's name.

And a look over a template from a stranger, for what it would otherwise do without a word. Torch-free.
"""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from engine.errors import TemplateError
from engine.template import TFM, Message, Template, find_template, load_template
from engine.tokenizer import SentencePieceTokenizer, Tokenizer, encode_segments

QUESTION, NEXT = Message("user", "Hello there"), Message("user", "And then?")
ANSWER = "Fine."
THOUGHTFUL = "<think>\nHm.\n</think>\n\nFine."


def choose_template(own: Mapping[str, str], asked: str | None, tokenizer: Tokenizer) -> tuple[Template | None, str]:
    """(template, where it is from); without a template that can be used, (None, why).

    own: the model's Jinja templates by name (see read_chat_templates). asked: one of these names, a built-in one, or
    a .jinja or JSON file. Raises TemplateError when what was asked for cannot be used; what the model itself brings
    may be unusable and the model still of use, without a conversation.
    """
    if asked is not None:
        if asked in own:
            return _jinja(own[asked], tokenizer, asked), f"the model's, by --template {asked}"
        if asked.endswith(".jinja"):
            return _jinja(_read(Path(asked)), tokenizer, Path(asked).stem), "--template"
        return load_template(asked), "--template"
    if not own:
        return None, "the model has none"
    if "default" not in own:
        names = ", ".join(sorted(own))
        return None, f"the model has several templates and none is the default; --template takes one of {names}"
    # Models that are trained here read the same text with ids of the built-in template, cut at its own places.
    found = find_template(own["default"])
    # That of the models made here has a place for examples, whatever file their tokenizer lies in.
    if found and (found is TFM or isinstance(tokenizer, SentencePieceTokenizer) or not find_spec("jinja2")):
        return found, "the model"
    try:
        return _jinja(own["default"], tokenizer, "its own"), "the model"
    except TemplateError as e:
        return None, str(e).rstrip(".")


def _jinja(source: str, tokenizer: Tokenizer, name: str) -> Template:
    if find_spec("jinja2") is None:
        raise TemplateError("The model's Jinja template needs the package jinja2.", "Install it: pip install 'tfm[hf]'")
    from engine.jinja_template import JinjaTemplate

    return JinjaTemplate(source, tokenizer.controls, tokenizer.special_tokens, name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise TemplateError(f"The template file {path} cannot be read: {e}.") from e


def look_over(template: Template, tokenizer: Tokenizer) -> tuple[str, ...]:
    """What a person should know of a template before the first question, a sentence each; empty when all is well."""
    segments = template.render([QUESTION])
    ids = encode_segments(tokenizer, segments)
    remarks = []
    bos = tokenizer.control_id(tokenizer.special_tokens.get("bos_token", ""))
    begun = next((n for n, token in enumerate(ids) if token != bos), len(ids))  # ChatML's BOS also opens each turn
    if begun > 1:
        remarks.append(f"The template begins with BOS {begun} times.")
    text = "\n".join(segment.text for segment in segments if not segment.control)
    if unknown := re.findall(r"<\|[^|<>\s]{1,40}\|>", text):
        remarks.append(f"The template writes {unknown[0]}, which is no control token of this tokenizer.")
    if segments[-1].text.rstrip().endswith(QUESTION.content):
        remarks.append("The template does not mark where the answer begins.")
    if not template.end_of_turn and not template.stop:
        remarks.append("The template ends an answer with no control token.")
    try:
        template.head([Message("system", "Be brief.")])
    except TemplateError:
        remarks.append("The template has no place for a system prompt.")
    if not _goes_on(template, tokenizer, ANSWER):
        remarks.append("The template rewrites earlier answers, so each turn reads the last answer again.")
    elif "</think>" in template.jinja and not _goes_on(template, tokenizer, THOUGHTFUL):
        remarks.append("The template drops earlier thoughts, so each turn reads the last answer again.")
    return tuple(remarks)


def _goes_on(template: Template, tokenizer: Tokenizer, answer: str) -> bool:
    """Whether the ids of the second turn begin with those of the first and of its answer."""
    said = tuple(tokenizer.encode_within(answer))
    first = [*encode_segments(tokenizer, template.render([QUESTION])), *said]
    try:
        second = template.render([QUESTION, Message("assistant", answer, ids=said), NEXT])
    except TemplateError:
        return False
    return encode_segments(tokenizer, second)[: len(first)] == first
