"""The line below the input: which model, how full its context is, how fast the last answer came."""

from chat.answer import rate
from chat.repl.state import Chat


def status_line(chat: Chat) -> str:
    """For example `default  812/4096 tokens  45 tokens/s`."""
    parts = [chat.engine.info.name]
    if meter := chat.meter():
        parts.append(f"{meter} tokens")
    if chat.last is not None:
        parts.append(rate(chat.last.usage.completion_tokens - 1, chat.last.timings.decode))
    return "  ".join(parts)
