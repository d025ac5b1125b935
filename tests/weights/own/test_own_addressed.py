"""Promises about who is who: the user's name and the model's are kept apart, and what was not told is left open."""

import re
from functools import cache
from random import Random

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.memory import addressed


@cache
def _made(n: int = 1500, seed: int = 7) -> tuple[Conversation, ...]:
    return tuple(GENERATORS["addressed"](Random(seed), n))


@cache
def _scenes(n: int = 3000) -> tuple[tuple[Conversation, addressed.Scene], ...]:
    rng = Random(3)
    return tuple(addressed.made(rng) for _ in range(n))


def _turns(conversation: Conversation) -> list[tuple[str, str]]:
    said = [message.content for message in conversation if message.role != "system"]
    return list(zip(said[::2], said[1::2], strict=True))


def _plain(text: str) -> str:
    return re.sub(r"\W+$", "", text.lower())


def _wordings(group: str) -> dict[str, int]:
    """Each wording of a group that has no name in it, with the number of its row."""
    return {ask: at for at, (asks, _) in enumerate(addressed.asks(group)) for ask in asks if "{" not in ask}


def test_conversations_differ_are_whole_and_hold_nothing_held_out() -> None:
    made = _made()
    assert made == tuple(GENERATORS["addressed"](Random(7), 1500)) != _made(seed=8)
    assert len(set(made)) > 0.99 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) and roles
        for message in conversation:
            assert message.content.strip() == message.content != ""
            assert not re.search(r"[{}|]| / | :: ", message.content), message.content
            assert message.role != "assistant" or (".." not in message.content and len(message.content.split()) < 25)


def test_the_table_has_many_ways_to_tell_and_to_ask() -> None:
    assert len(addressed.words_of("tell.name")) >= 60 and len(addressed.words_of("tell.both")) >= 15
    assert len(addressed.words_of("tell.by_user")) >= 25 and len(addressed.words_of("words.roles")) >= 100
    assert sum(len(asks) for group in addressed.TABLE["ask"] for asks, _ in addressed.asks(group)) >= 350


def test_the_two_names_share_no_word() -> None:
    for _, scene in _scenes():
        mine = set(scene.words.get("p", "").lower().split())
        for key in ("n", "m", "x", "z"):
            assert not mine & set(scene.words.get(key, "").lower().split()), scene


def test_the_question_for_a_name_is_answered_with_that_name() -> None:
    mine, yours = _wordings("you"), _wordings("me")
    both = set(mine) & set(yours)
    found = {"mine": 0, "yours": 0}
    for conversation, scene in _scenes():
        n, p = (scene.words.get(key, "").replace("..", ".").rstrip(".") for key in ("n", "p"))
        for said, answer in _turns(conversation):
            ask = _plain(said)
            if ask in mine and ask not in both and p:
                found["mine"] += 1
                assert p in answer and (scene.use or not n or not re.search(rf"(?<!\w){re.escape(n)}(?!\w)", answer))
            elif ask in yours and n and "both" not in scene.groups and "kin" not in scene.groups:
                found["yours"] += 1
                assert n in answer, (said, answer)
                assert not p or not re.search(rf"(?<!\w){re.escape(p)}(?!\w)", answer), (said, answer)
    assert not both, both
    assert min(found.values()) > 200, found


def test_nickname_and_real_name_are_told_apart() -> None:
    rows = _wordings("both")
    found = 0
    for conversation, scene in _scenes():
        if "both" not in scene.groups:
            continue
        n, m = (scene.words[key].replace("..", ".").rstrip(".") for key in ("n", "m"))
        for said, answer in _turns(conversation):
            row = rows.get(_plain(said))
            if row in (0, 1, 2):
                found += 1
                wanted = {0: (m,), 1: (n,), 2: (n, m)}[row]
                assert all(name in answer for name in wanted), (said, answer)
    assert found > 100


def test_a_name_that_nobody_told_is_not_invented() -> None:
    unknown = [(c, s) for c, s in _scenes() if not s.words["n"]]
    assert len(unknown) > 250
    asked = _wordings("nobody")
    for conversation, _scene in unknown:
        for said, answer in _turns(conversation):
            if asked.get(_plain(said)) == 0:
                assert re.search(r"don't know|told me|Nobody told", answer), (said, answer)


def test_where_the_prompt_wants_the_name_every_answer_has_it() -> None:
    wanted = [(c, s) for c, s in _scenes() if s.use]
    assert len(wanted) > 150
    for conversation, scene in wanted:
        for _, answer in _turns(conversation):
            assert scene.words["n"].replace("..", ".").rstrip(".").lower() in answer.lower(), answer


def test_deeds_and_greetings_use_the_name() -> None:
    for group in ("deed", "plain"):
        assert all("{n}" in answer for _, answers in addressed.asks(group) for answer in answers), group
