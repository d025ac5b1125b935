"""The promise of the kept instructions: every answer keeps what was asked for."""

import random
import re
from collections import Counter
from functools import cache

from weights.data.own.characters import instructions, kept_instructions
from weights.data.own.characters.instructions import KINDS, PAIRS, Instruction
from weights.data.own.phrasing import Conversation


@cache
def made() -> list[tuple[Conversation, tuple[Instruction, ...]]]:
    rng = random.Random(0)
    return [kept_instructions.made(rng) for _ in range(3000)]


def answers(conversation: Conversation) -> list[str]:
    return [m.content for m in conversation if m.role == "assistant"]


def table(name: str) -> tuple[str, ...]:
    return instructions._T[name]


def kept_by(kind: str, answer: str, text: str) -> bool:
    """What the words of the instruction ask for, read anew from the prompt and not from the rule itself."""
    quoted = re.search(r"(['\"])(.+?)\1(?=[ .]|$)", text)
    if kind in ("end", "begin", "call") and quoted:
        phrase = quoted.group(2)
        if kind == "call":
            return phrase.lower() in answer.lower()
        return answer.endswith(phrase) if kind == "end" else answer.startswith(phrase)
    checks = {
        "caps": lambda: answer.upper() == answer,
        "small": lambda: not re.search("[A-Z]", answer),
        "brief": lambda: len(answer.split()) <= 20 and "\n" not in answer,
        "exclaim": lambda: answer[-1] == "!",
        "calm": lambda: "!" not in answer,
        "smiley": lambda: answer.endswith(":)"),
        "sign": lambda: bool(re.search(r" - \S[^\n]*$|\n- \S", answer)),
        "colon": lambda: bool(re.match(r"[^:]+: ", answer)),
        "brackets": lambda: answer[0] + answer[-1] == "[]",
        "quotes": lambda: answer[0] + answer[-1] == '""',
        "encourage": lambda: any(said in answer for said in table("encouragements")),
        "offer": lambda: any(said in answer for said in table("offers")),
        "question": lambda: answer.endswith("?"),
        "thank": lambda: answer.startswith("Thank"),
        "praise": lambda: "question!" in answer[:40] or answer.startswith("You ask"),
    }
    return checks[kind]() if kind in checks else True


def test_every_answer_keeps_every_instruction() -> None:
    seen: Counter[str] = Counter()
    for conversation, rules in made():
        for rule in rules:
            seen[rule.kind] += 1
            assert any(rule.text in m.content for m in conversation if m.role != "assistant")
            for answer in answers(conversation):
                assert rule.kept(answer), (rule.text, answer)
                assert kept_by(rule.kind, answer, rule.text), (rule.text, answer)
    assert set(seen) == set(KINDS)
    assert min(seen.values()) > 10


def test_a_single_wish_for_short_answers_is_kept_strictly() -> None:
    for conversation, rules in made():
        if [rule.kind for rule in rules] == ["brief"]:
            assert all(instructions.is_short(answer) for answer in answers(conversation))


def test_instructions_are_kept_over_several_turns_and_together_with_others() -> None:
    drawn = made()
    assert sum(len(answers(conversation)) >= 3 for conversation, _ in drawn) > 800
    assert {tuple(rule.kind for rule in rules) for _, rules in drawn if len(rules) == 2} == set(PAIRS)


def test_an_answer_that_does_not_keep_an_instruction_is_noticed() -> None:
    rng = random.Random(3)
    for kind, (draw, _, needs_name) in KINDS.items():
        if not needs_name and kind not in ("calm", "small"):
            rule = draw(rng, None)
            wrong = "No. One two three four five six. " * 5 + "no!?,"
            assert not rule.kept(wrong), kind


def test_the_name_of_the_prompt_signs_and_opens_the_answers() -> None:
    for conversation, rules in made():
        for rule in rules:
            for answer in answers(conversation):
                if rule.kind == "sign":
                    assert answer.rpartition("- ")[2] in conversation[0].content
                if rule.kind == "colon":
                    assert answer.partition(": ")[0] in conversation[0].content
