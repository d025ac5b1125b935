"""What the model is sent, and that the tree of turns loses nothing."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.repl.conversation import Conversation, Dropped, Turn, letters
from engine.errors import UsageError
from engine.template import Message


def talked(*pairs: tuple[str, str], system: str = "") -> Conversation:
    conversation = Conversation(system)
    for prompt, answer in pairs:
        conversation.ask(prompt)
        answered(conversation, answer)
    return conversation


def answered(conversation: Conversation, answer: str) -> Turn:
    conversation.keep(answer, tuple(map(ord, answer)), cut=False)
    return conversation.path()[-1]


def said(conversation: Conversation) -> list[str]:
    return [message.content for message in conversation.messages()]


def test_the_system_prompt_comes_first_and_answers_keep_their_sampled_ids() -> None:
    messages = talked(("a", "b"), system="s").messages()
    assert messages == [Message("system", "s"), Message("user", "a"), Message("assistant", "b", (98,))]


def test_clear_leaves_nothing_but_the_system_prompt() -> None:
    conversation = talked(("a", "b"), system="s")
    conversation.clear()
    assert conversation == Conversation("s")


def test_a_prompt_without_an_answer_is_not_sent_with_the_next_and_not_lost() -> None:
    conversation = talked(("a", "b"))
    conversation.ask("lost")
    conversation.ask("next")
    assert said(conversation) == ["a", "b", "next"]
    conversation.switch("b")
    assert said(conversation) == ["a", "b", "lost"] and conversation.waits


def test_another_answer_stands_beside_the_first_with_the_same_prompt_key() -> None:
    conversation = talked(("a", "b"))
    first = conversation.path()[-1]
    assert conversation.regenerate() and conversation.waits
    second = answered(conversation, "c")
    assert said(conversation) == ["a", "c"]
    assert (first.prompt_key, first.parent) == (second.prompt_key, second.parent)
    assert first.answer_key != second.answer_key
    conversation.switch("a")
    assert said(conversation) == ["a", "b"]


@pytest.mark.parametrize("give_up", ["withdraw", "abandon"])
def test_another_answer_that_never_came_leaves_the_one_before(give_up: str) -> None:
    conversation = talked(("a", "b"))
    conversation.regenerate()
    getattr(conversation, give_up)()
    assert said(conversation) == ["a", "b"] and len(conversation.nodes) == 1


def test_a_new_prompt_that_does_not_fit_leaves_the_conversation_unchanged() -> None:
    conversation = talked(("a", "b"))
    conversation.ask("too long")
    conversation.withdraw()
    assert said(conversation) == ["a", "b"] and len(conversation.nodes) == 1


def test_an_edit_that_does_not_fit_leads_back_to_where_it_was_asked() -> None:
    conversation = talked(("a", "b"), ("c", "d"), ("e", "f"))
    conversation.edit(1, "too long")
    conversation.withdraw()
    assert said(conversation) == list("abcdef") and len(conversation.nodes) == 3


def test_an_edit_is_another_child_of_the_same_turn() -> None:
    conversation = talked(("a", "b"), ("c", "d"), ("e", "f"))
    old = conversation.path()[1]
    conversation.edit(2, "C")
    answered(conversation, "D")
    assert said(conversation) == ["a", "b", "C", "D"]
    assert conversation.path()[1].parent is old.parent and conversation.path()[1].prompt_key != old.prompt_key
    conversation.switch("b")
    assert said(conversation) == list("abcdef"), "the leaf below the turn that was named"


def test_branch_and_undo_go_back_and_switch_returns() -> None:
    conversation = talked(("a", "b"), ("c", "d"))
    conversation.branch(1)
    conversation.ask("x")
    answered(conversation, "y")
    assert said(conversation) == ["a", "b", "x", "y"]
    conversation.branch(0)
    assert said(conversation) == []
    conversation.switch("B")
    assert said(conversation) == list("abcd")
    undone = conversation.undo()
    assert undone is not None and undone.prompt == "c" and said(conversation) == ["a", "b"]
    conversation.switch(conversation.name(undone))
    assert said(conversation) == list("abcd")


@pytest.mark.parametrize("step", [("edit", 4, "x"), ("edit", 0, "x"), ("branch", 4), ("branch", -1), ("switch", "zz")])
def test_a_wrong_number_or_id_changes_nothing(step: tuple[str, int | str]) -> None:
    conversation = talked(("a", "b"), ("c", "d"), ("e", "f"))
    with pytest.raises(UsageError, match="There is no turn"):
        getattr(conversation, step[0])(*step[1:])
    assert said(conversation) == list("abcdef") and len(conversation.nodes) == 3


def test_forgotten_turns_stay_forgotten_on_their_path_and_nowhere_else() -> None:
    conversation = talked(("a", "b"), ("c", "d"), ("e", "f"), system="s")
    conversation.ask("g")
    assert conversation.forget(conversation.messages()[1:3], 9) == Dropped(1, 1, 9)
    answered(conversation, "h")
    conversation.ask("i")
    assert conversation.forget(conversation.messages()[1:3], 8) == Dropped(2, 2, 8)
    leaf = answered(conversation, "j")
    assert said(conversation) == ["s", *"efghij"]
    conversation.undo()
    assert said(conversation) == ["s", *"cdefgh"] and conversation.forgotten == 1
    conversation.edit(3, "E")
    assert said(conversation) == ["s", *"abcd", "E"], "before the turn that dropped them"
    conversation.switch(conversation.name(leaf))
    assert said(conversation) == ["s", *"efghij"] and leaf.dropped == Dropped(2, 2, 8)


def test_an_answer_goes_on_in_its_own_turn_but_not_under_those_that_have_read_it() -> None:
    conversation = talked(("a", "b"))
    only = conversation.path()[-1]
    assert conversation.reopen() is only
    conversation.ask("c")
    answered(conversation, "d")
    conversation.undo()
    copy = conversation.reopen()
    assert copy is not None and copy is not only and copy.prompt_key == only.prompt_key
    conversation.keep("bb", (98, 98), cut=False)
    assert said(conversation) == ["a", "bb"]
    conversation.switch("b")
    assert said(conversation) == list("abcd")


def test_ids_are_letters_in_the_order_of_the_turns() -> None:
    assert [letters(n) for n in (0, 25, 26, 51, 52, 701, 702)] == ["a", "z", "aa", "az", "ba", "zz", "aaa"]
    assert len({letters(n) for n in range(2000)}) == 2000


STEPS = ["ask", "keep", "forget", "edit", "branch", "switch", "reopen", "undo", "clear", "regenerate", "give up"]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), max_size=40))
def test_whatever_is_done_roles_take_turns_and_no_answer_is_lost(steps: list[tuple[str, int]]) -> None:
    conversation, kept = Conversation(), list[str]()
    for step, number in steps:
        depth = len(conversation.path())
        if step == "ask":
            conversation.ask("q")
        elif step == "keep" and conversation.waits:
            kept.append(f"answer {len(kept)}")
            conversation.keep(kept[-1], (1,), cut=False)
        elif step == "give up" and conversation.regenerate():
            (conversation.withdraw if number % 2 else conversation.abandon)()
        elif step == "forget" and depth:
            conversation.forget(conversation.messages()[:2] if len(conversation.messages()) > 2 else [], 1)
        elif step == "edit" and depth:
            conversation.edit(1 + number % depth, f"edited {number}")
        elif step == "branch":
            with suppress(UsageError):  # no turn follows one without an answer
                conversation.branch(number % (depth + 1))
        elif step == "switch" and conversation.nodes:
            conversation.switch(letters(number % len(conversation.nodes)))
        elif step in ("undo", "clear", "regenerate", "reopen"):
            getattr(conversation, step)()
            kept = [] if step == "clear" else kept
        roles = [m.role for m in conversation.messages()]
        assert roles == (["user", "assistant"] * len(roles))[: len(roles)]
        assert 0 <= conversation.forgotten <= len(conversation.path())
        assert all(node.parent is None or node.parent in conversation.nodes for node in conversation.nodes)
        assert {node.answer.content for node in conversation.nodes if node.answer is not None} == set(kept)
