"""What the model is sent."""

from hypothesis import given
from hypothesis import strategies as st

from chat.repl.conversation import Conversation
from engine.template import Message


def talked(*pairs: tuple[str, str], system: str = "") -> Conversation:
    conversation = Conversation(system)
    for prompt, answer in pairs:
        conversation.ask(prompt)
        conversation.keep(answer, tuple(map(ord, answer)), cut=False)
    return conversation


def test_the_system_prompt_comes_first_and_answers_keep_their_sampled_ids() -> None:
    messages = talked(("a", "b"), system="s").messages()
    assert messages == [Message("system", "s"), Message("user", "a"), Message("assistant", "b", (98,))]


def test_clear_leaves_nothing_but_the_system_prompt() -> None:
    conversation = talked(("a", "b"), system="s")
    conversation.clear()
    assert conversation.messages() == Conversation("s").messages()


def test_a_prompt_without_an_answer_is_replaced_by_the_next() -> None:
    conversation = talked(("a", "b"))
    conversation.ask("lost")
    conversation.ask("next")
    assert [m.content for m in conversation.messages()] == ["a", "b", "next"]


def test_an_answer_that_is_regenerated_is_kept_until_another_has_come() -> None:
    conversation = talked(("a", "b"))
    assert conversation.regenerate()
    assert conversation.waits
    conversation.withdraw()
    assert [m.content for m in conversation.messages()] == ["a", "b"]


def test_a_new_prompt_that_does_not_fit_leaves_the_conversation_unchanged() -> None:
    conversation = talked(("a", "b"))
    before = conversation.messages()
    conversation.ask("too long")
    conversation.withdraw()
    assert conversation.messages() == before


def test_forgotten_turns_stay_forgotten() -> None:
    conversation = talked(("a", "b"), ("c", "d"), ("e", "f"), system="s")
    assert conversation.forget(conversation.messages()[1:3]) == (1, 1)
    assert conversation.forget(conversation.messages()[1:3]) == (2, 2)
    assert [m.content for m in conversation.messages()] == ["s", "e", "f"]


@given(st.lists(st.sampled_from(["ask", "keep", "undo", "clear", "regenerate", "withdraw", "forget"]), max_size=30))
def test_whatever_is_done_roles_take_turns(steps: list[str]) -> None:
    conversation = Conversation()
    for step in steps:
        if step == "ask":
            conversation.ask("q")
        elif step == "keep" and conversation.waits:
            conversation.keep("a", (1,), cut=False)
        elif step == "withdraw" and conversation.waits:
            conversation.withdraw()
        elif step == "forget":
            conversation.forget(conversation.messages()[:2] if len(conversation.messages()) > 2 else [])
        elif step in ("undo", "clear", "regenerate"):
            getattr(conversation, step)()
        roles = [m.role for m in conversation.messages()]
        assert roles == (["user", "assistant"] * len(roles))[: len(roles)]
        assert 0 <= conversation.forgotten <= len(conversation.turns)
