"""/context: what is in the context, by part, and what went out of it."""

from chat.repl.registry import Next, command, count
from chat.repl.state import Chat


@command("/context")
def context(chat: Chat, argument: str) -> Next:
    """Show what fills the context, and which turns went out of it."""
    conversation = chat.conversation
    parts = parts_of(chat)
    forgotten, size = conversation.forgotten, chat.engine.context
    turns = count(len(conversation.path()) - forgotten, "turn")
    gone = f", {forgotten} forgotten" if forgotten else ""
    used = sum(parts.values())
    chat.screen.tell(f"{used} of {size} tokens; {turns}{gone}; when it is full: {chat.overflow}")
    for name, tokens in {**parts, "free": size - used}.items():
        chat.screen.tell(f"{tokens:>7} {name}")
    for number, turn in enumerate(conversation.path(), 1):
        if turn.dropped:
            chat.screen.tell(f"Before turn {number}, {turn.dropped.turns} went out ({turn.dropped.tokens} tokens).")
    return Next.PROMPT


def parts_of(chat: Chat) -> dict[str, int]:
    """Tokens of what the next prompt will follow, by part; the control tokens of a message count with it."""

    def tokens(*roles: str) -> int:
        return len(chat.engine.prompt_ids([m for m in messages if m.role in roles]))

    messages = chat.conversation.messages()
    frame, spoken = tokens(), tokens("user", "assistant")
    system = tokens("system", "user", "assistant") - spoken
    examples = tokens("system", "context", "user", "assistant") - spoken - system
    return {
        "system prompt": system, "looked-up examples": examples, "turns": spoken - frame, "begin and end": frame,
    }  # fmt: skip
