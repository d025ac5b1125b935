"""Promises about characters that are asked what their system prompt says they do."""

import re
from random import Random

from weights.data.own import GENERATORS, Conversation
from weights.data.own.characters import deeds

_ANSWER = re.compile(r"(?:I|Yes, I|No, I|Not at all\. I) ([a-z]+(?: (?:after|for|of|about))?) (.+)\.$")


def _conversations(n: int = 400) -> list[Conversation]:
    return list(GENERATORS["deeds"](Random(5), n))


def test_what_is_said_of_a_deed_stands_in_the_system_prompt() -> None:
    verbs = {base: third for base, third, _ in deeds._rows()}
    checked = 0
    for system, *turns in _conversations():
        for said, answer in zip(turns[::2], turns[1::2], strict=True):
            match = re.match(
                r"(?:I|Yes, I|No, I|Not at all\. I) ([a-z]+(?: (?:after|for|of|about))?) (.+)\.$", answer.content
            )
            if match and match[1] in verbs:
                assert match[2] in system.content, (system.content, said.content, answer.content)
                assert match[1] in system.content or verbs[match[1]] in system.content
                checked += 1
    assert checked > 150


def test_what_is_not_true_is_denied_with_what_is() -> None:
    denied = [c for c in _conversations() if any(m.content.startswith(("No", "Not at all")) for m in c[2::2])]
    assert len(denied) > 10
    for system, *turns in denied:
        for said, answer in zip(turns[::2], turns[1::2], strict=True):
            if answer.content.startswith("Not at all. I "):
                thing = answer.content.removesuffix(".").split()[-1]
                assert thing in system.content and thing.lower() not in said.content.lower().split()


def test_no_two_verbs_answer_the_same_and_each_has_things_nobody_could_guess() -> None:
    rows = deeds._rows()
    assert len({base for base, _, _ in rows}) == len(rows) >= 50
    assert all(len(set(things)) == len(things) >= 7 for _, _, things in rows)
