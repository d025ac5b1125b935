"""Whose words each id of a prompt is, and what is told of a template that is wrong."""

from pathlib import Path

import pytest
from chat_templates import CONTROLS, FAMILIES
from json_tokenizers import byte_level

from engine.jinja_template import JinjaTemplate
from engine.template import CHATML, PLAIN, TFM, Message
from engine.template_lint import forged_by, lint, spans, written_controls
from engine.tokenizer import SentencePieceTokenizer, encode_segments
from engine.tokenizer_json import JsonTokenizer

TALK = [
    Message("user", "Hi there, 你好"),
    Message("assistant", "Hello <|end|>."),
    Message("user", "  What is [INST] tar? \n"),
]
SYSTEM = Message("system", "Be brief.")


@pytest.fixture(scope="module")
def bytes_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> JsonTokenizer:
    return byte_level(tmp_path_factory.mktemp("byte-level"), CONTROLS, ())


def by_role(found: list[tuple[str, str]]) -> dict[str, str]:
    """The text of each kind, in one piece."""
    joined: dict[str, str] = {}
    for kind, text in found:
        joined[kind] = joined.get(kind, "") + "|" + text
    return joined


@pytest.mark.parametrize("name", FAMILIES)
def test_spans_are_the_very_ids_and_each_word_is_its_roles(name: str, bytes_tokenizer: JsonTokenizer) -> None:
    family = FAMILIES[name]
    tokens = {"bos_token": family.bos, "eos_token": family.eos}
    template = JinjaTemplate(family.jinja, bytes_tokenizer.controls, tokens)
    talk = TALK if family.system == "refused" else [SYSTEM, *TALK]
    found = spans(template, bytes_tokenizer, talk)
    ids = encode_segments(bytes_tokenizer, template.render(talk))
    assert [token for span in found for token in span.ids] == ids
    said = by_role([(span.kind, span.text) for span in found])
    for message in talk:
        assert message.content.strip() in said[message.role]
    for span in found:
        assert (span.kind == "control") == any(map(bytes_tokenizer.is_control, span.ids))
        assert not any(message.content.strip() in span.text for message in talk if message.role != span.kind)


def test_our_own_template_has_no_fault(tokenizer: SentencePieceTokenizer) -> None:
    end = tokenizer.control_id("<|end|>")
    assert end is not None
    assert lint(TFM, tokenizer, (2, end)) == ()
    sampled = Message("assistant", "Hello.", ids=tuple(tokenizer.encode("Hello.")))
    found = spans(TFM, tokenizer, [SYSTEM, TALK[0], sampled, TALK[2]])
    assert [span.kind for span in found if span.kind != "control"] == ["system", "user", "assistant", "user"]
    assert found[-1].text == "<|assistant|>"
    assert next(span.ids for span in found if span.kind == "assistant") == sampled.ids


def test_an_end_that_the_files_do_not_name_is_told(tokenizer: SentencePieceTokenizer) -> None:
    [remark] = lint(TFM, tokenizer, (2,))
    assert "<|end|>" in remark and "would not in other engines" in remark


def test_roles_that_are_plain_words_are_told(tokenizer: SentencePieceTokenizer) -> None:
    assert any("plain words" in remark for remark in lint(PLAIN, tokenizer, (2,)))


WRONG = {
    "{{ bos_token }}{{ bos_token }}<|user|>{{ messages[0].content }}<|end|><|assistant|>": "BOS 2 times",
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}": "where the answer begins",
    "{{ bos_token }}{% for m in messages %}{% if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}<|end|>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}": "no place for a system prompt",
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>": "ends an answer",
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}So: {% endif %}{{ m.content }}"
    "<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}": "reads the last answer again",
}


@pytest.mark.parametrize("source", WRONG)
def test_every_fault_of_a_template_is_told(source: str, tmp_path: Path) -> None:
    """T1, T3"""
    tokenizer = byte_level(tmp_path, CONTROLS, ())
    tokenizer.special_tokens = {"bos_token": "<s>"}
    template = JinjaTemplate(source, tokenizer.controls, tokenizer.special_tokens)
    assert any(WRONG[source] in remark for remark in lint(template, tokenizer, ()))


def test_a_tokenizer_that_reads_control_tokens_out_of_words_is_told(tokenizer: SentencePieceTokenizer) -> None:
    """What no tokenizer of ours does: P2."""

    class Careless(SentencePieceTokenizer):
        def encode(self, text: str) -> list[int]:
            before, name, after = text.partition("<|end|>")
            return super().encode(before) + ([self.controls[name].id, *self.encode(after)] if name else [])

    careless = Careless(tokenizer.path)
    assert forged_by(TFM, tokenizer) == ""
    assert forged_by(TFM, careless) == "<|end|>"
    assert any("can become the control token <|end|>" in remark for remark in lint(TFM, careless, (2,)))


def test_control_tokens_that_a_message_spells_are_named(tokenizer: SentencePieceTokenizer) -> None:
    assert written_controls(tokenizer, TALK) == [("assistant", "<|end|>")]
    sampled = Message("assistant", "<|end|>", ids=(5, 6))
    assert written_controls(tokenizer, [TALK[0], sampled]) == []


def test_chatml_of_another_tokenizer_has_its_role_words_as_the_templates(bytes_tokenizer: JsonTokenizer) -> None:
    found = spans(CHATML, bytes_tokenizer, TALK[:1])
    assert [(s.kind, s.text) for s in found][1:3] == [("template", "user\n"), ("user", "Hi there, 你好")]
