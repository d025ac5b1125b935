"""Promises of the generated training conversations."""

import random
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from weights.data.own import GENERATORS, Conversation, heldout
from weights.data.own.characters import personas
from weights.data.own.names import FIRST_NAMES, any_name
from weights.data.own.phrasing import vary

EVALUATE = Path(heldout.__file__).parents[2] / "evaluate"
SUBJECTS = sorted(GENERATORS)
# Braces: `find . -exec ls {} +`.
SHELL = {"command_readings", "commands", "everyday", "followups", "next_steps", "shell_basics", "shell_chores"}


def made(subject: str, n: int, seed: int = 0) -> list[Conversation]:
    return list(GENERATORS[subject](random.Random(seed), n))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_same_seed_makes_the_same_conversations_and_exactly_as_many_as_asked(subject: str) -> None:
    assert made(subject, 300) == made(subject, 300)
    assert made(subject, 300) != made(subject, 300, seed=1)
    assert [len(made(subject, n)) for n in (0, 1, 17)] == [0, 1, 17]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_roles_alternate_and_the_model_has_the_last_word(subject: str) -> None:
    for conversation in made(subject, 1000):
        turns = [m.role for m in conversation if m.role != "system"]
        assert all(m.role != "system" for m in conversation[1:])
        assert turns[0] == "user"
        assert turns[-1] == "assistant"
        assert all(a != b for a, b in pairwise(turns))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_no_message_is_empty_or_has_a_place_left_to_fill(subject: str) -> None:
    for conversation in made(subject, 2000):
        for message in conversation:
            assert message.content.strip()
            assert message.content == message.content.strip()
            assert subject in SHELL or not re.search(r"\{[a-z]*\}|¦", message.content), message


@pytest.mark.parametrize("subject", sorted(set(SUBJECTS) - {"everyday"}))
def test_most_conversations_are_different(subject: str) -> None:
    assert len(set(made(subject, 2000))) > 1500


def test_no_heldout_name_or_prompt_is_in_the_training_data() -> None:
    rows = tomllib.loads((EVALUATE / "personas.toml").read_text(encoding="utf-8"))["persona"]
    names = [re.sub(r"^(Dr\.|Captain|Aunt|Sir) ", "", row["name"]) for row in rows]
    found = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names), re.IGNORECASE)
    prompts = set()
    for row in tomllib.loads((EVALUATE / "prompts.toml").read_text(encoding="utf-8"))["prompt"]:
        prompts.add(row["user"] if "user" in row else row["messages"][-1]["content"])
    assert len(names) == 40
    assert len(prompts) == 50
    for subject in SUBJECTS:
        for conversation in made(subject, 8000 if subject == "personas" else 2500):
            for message in conversation:
                assert not found.search(message.content)
                assert message.role != "user" or message.content not in prompts


def test_the_rubrics_of_the_evaluation_are_patterns_that_compile() -> None:
    for name in ("persona", "prompt"):
        for row in tomllib.loads((EVALUATE / f"{name}s.toml").read_text(encoding="utf-8"))[name]:
            assert row["accept"]
            for pattern in (*row["accept"], *row.get("reject", ())):
                re.compile(pattern)
            if name == "persona":
                asks = row.get("asks", "name")
                assert asks in ("name", "role", "instruction")
                assert asks == "instruction" or re.search(row["accept"][0], row["system"], re.IGNORECASE)
                assert (asks == "name") == bool(re.search(row["accept"][0], f"I'm {row['name']}.", re.IGNORECASE))


def test_a_persona_is_asked_who_it_is_and_answers_with_its_name_or_role() -> None:
    rng = random.Random(3)
    for _ in range(3000):
        persona = personas.any_persona(rng, "both")
        assert persona.name in persona.system
        assert persona.role in persona.system
        _, answer = personas.question(persona, rng)
        assert persona.name in answer or persona.role in answer or persona.task in answer
        assert persona.name in persona.says(personas.WHO_ANSWERS, rng)
        assert persona.role in persona.says(personas.WHO_ANSWERS, rng)
        assert persona.name in persona.says(personas.NAME_ANSWERS, rng)
        assert persona.name in persona.says(personas.HELLO_ANSWERS, rng)
        assert persona.name in persona.says(personas.NO_ANSWERS, rng)


def test_ten_thousand_personas_have_at_least_three_thousand_names(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = set()

    def recorded(rng: random.Random) -> str:
        drawn.add(name := any_name(rng))
        return name

    monkeypatch.setattr(personas, "any_name", recorded)
    systems = {c[0].content for c in made("personas", 10000)}
    assert len(drawn) >= 3000
    assert len(systems) >= 8000
    assert len(set(FIRST_NAMES)) >= 400


def test_a_variation_leaves_the_places_to_fill_as_they_are() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        assert vary("My name is {name}, and I like {kind} more.", rng).format(name="A", kind="B")
