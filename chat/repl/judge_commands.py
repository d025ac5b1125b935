"""The slash commands that judge an answer: what `tfm history export --format sft` gives a trainer to learn from."""

from chat.repl.registry import Next, command
from chat.repl.state import Chat
from chat.sessions.kept import Verdict
from engine.errors import UsageError


@command("/good")
def good(chat: Chat, argument: str) -> Next:
    """Keep the last answer as one to learn from."""
    return _judge(chat, "good")


@command("/bad")
def bad(chat: Chat, argument: str) -> Next:
    """Mark the last answer as one never to learn from."""
    return _judge(chat, "bad")


@command("/fix TEXT")
def fix(chat: Chat, argument: str) -> Next:
    """Keep TEXT as what the last answer should have been; the conversation stays as it is."""
    if not argument:
        raise UsageError("/fix needs the answer as it should have been.", "For example: /fix `tar -tf archive.tar`")
    return _judge(chat, "fixed", argument)


def _judge(chat: Chat, verdict: Verdict, text: str | None = None) -> Next:
    turn = chat.conversation.tip
    if turn is None or turn.answer is None:
        raise UsageError("There is no answer to judge.")
    if not chat.keeper.judge(turn, verdict, text):
        raise UsageError("This conversation is not kept, so there is nowhere to keep a judgement.")
    chat.screen.tell(f"Kept as {verdict}; `tfm history export --format sft` gives such answers to a trainer.")
    return Next.PROMPT
