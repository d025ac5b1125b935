"""Promises about the plain words: many, told once and not by themselves, with the right article, asked in many ways."""

import re
from random import Random

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.knowledge import definitions, everyday_words, meanings, plain_words


def _made(n: int = 1500, seed: int = 7) -> list[Conversation]:
    return list(GENERATORS["plain_words"](Random(seed), n))


def _bare(term: str) -> str:
    return re.sub(r"^(?:an?|the|to) ", "", term).lower()


def test_conversations_differ_and_hold_nothing_held_out() -> None:
    made = _made()
    assert made == _made() != _made(seed=8)
    assert len(set(made)) > 0.95 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) and len(roles) <= 4
        for message in conversation:
            assert message.content.strip() == message.content != ""
            assert not re.search(r"[{}|]| ::", message.content.replace("signs { and }", "")), message.content


def test_answers_are_short_and_whole() -> None:
    for conversation in _made():
        for message in conversation:
            if message.role == "assistant":
                assert len(message.content.split()) < 28, message.content
                assert message.content.endswith((".", "!", "?", "'")), message.content
                assert not message.content[0].islower() or message.content.startswith("camelCase"), message.content


def test_every_word_is_told_once_and_not_by_itself() -> None:
    words = plain_words.words()
    assert len(words) >= 1800 and len({word.name.lower() for word in words}) == len(words)
    assert sum(bool(word.about) for word in words) >= 350 and sum(bool(word.sentence) for word in words) >= 400
    for word in words:
        assert not re.search(rf"\b{re.escape(word.name)}\b", word.meaning, re.IGNORECASE), word
        assert 2 < len(word.meaning.split()) <= 18 and not word.meaning.endswith("."), word


def test_most_words_stand_in_no_other_table() -> None:
    older = {_bare(term) for term, _ in (*definitions.all_terms(), *everyday_words.words("nouns"))}
    older |= {row[0] for kind in ("verbs", "adjectives") for row in everyday_words.words(kind)}
    older |= {_bare(row[0]) for kind in ("character", "quality", "verbs", "nouns") for row in meanings.words(kind)}
    assert sum(word.name.lower() in older for word in plain_words.words()) <= 150


def test_sentences_hold_their_word() -> None:
    for word in plain_words.words():
        if word.sentence:
            assert word.name[:4].lower() in word.sentence.lower(), word
            assert word.sentence.endswith((".", "?", "!", ".'", "'")), word


def test_articles_follow_the_sound() -> None:
    terms = {word.name: word.term for word in plain_words.words()}
    assert terms["API"] == "an API" and terms["SSD"] == "an SSD" and terms["URL"] == "a URL"
    assert terms["one-liner"] == "a one-liner" and terms["unit test"] == "a unit test"
    assert terms["underdog"] == "an underdog" and terms["NAS"] == "a NAS" and terms["irony"] == "irony"


def test_questions_have_many_wordings_and_every_kind_has_its_frames() -> None:
    assert len(set(plain_words.frames("thing_ask"))) >= 60
    for kind in ("thing", "mass", "verb", "adjective"):
        assert len(set(plain_words.frames(f"{kind}_ask"))) >= 45
        for name in (f"{kind}_say", f"about_{kind}_say", f"{kind}_reverse", f"{kind}_found"):
            assert plain_words.frames(name), name


def test_a_word_with_another_meaning_is_told_with_its_subject() -> None:
    names = {word.name for word in plain_words.words() if word.homonym}
    assert {"bug", "port", "branch", "string", "fork"} <= names
    rng = Random(5)
    for word in (word for word in plain_words.words() if word.homonym):
        assert f"n {word.about}" in plain_words._meaning(word, rng)[1]


def test_simpler_words_are_in_the_tables_and_shorter() -> None:
    meaning = {word.name: word.meaning for word in plain_words.words()}
    assert len(plain_words.simpler()) >= 100
    for name, text in plain_words.simpler().items():
        assert name in meaning and len(text.split()) <= 12, name
