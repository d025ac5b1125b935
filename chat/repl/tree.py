"""The tree of turns as lines of plain characters, as wide as the terminal is.

A turn stands under the turn before it. Only where ways part are they set off, so that a long talk needs no width:

    *  a  What is tar? -> A program that packs files. (9 tokens)
    *  |- b  And gzip? -> It makes one file smaller. (8 tokens)
    >  |  c  Which first? -> tar, (2 tokens, cut)
       `- d  And zip? -> Both in one. (5 tokens)
"""

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells

from chat.render import safe_text
from chat.repl.conversation import Conversation, Turn, letters
from chat.repl.registry import count

WIDE = 60  # columns from which a line has room for the answer, and for words in its counts
LINE = 70  # columns of a prompt or an answer that is told in passing


def draw(conversation: Conversation, width: int) -> Iterator[str]:
    """The lines, in the order of a walk along each branch; none is wider than `width`."""
    if not conversation.nodes:
        yield "Nothing has been said yet."
        return
    names = {turn: letters(n) for n, turn in enumerate(conversation.nodes)}
    followers: dict[Turn | None, list[Turn]] = {}
    for turn in conversation.nodes:
        followers.setdefault(turn.parent, []).append(turn)
    here, wide = set(conversation.path()), width >= WIDE
    asked: set[str] = set()  # prompts that stand there already
    waiting = _marked(followers[None], "", wide)
    while waiting:
        turn, mark, below = waiting.pop()
        sign = ">" if turn is conversation.tip else "*" if turn in here else " "
        gap = "  " if wide else " "
        head = f"{sign}{gap}{_last(mark, width // 3)}{names[turn]}{gap}"
        tail = _counts(turn, wide)
        room = max(width - 1 - cell_len(head) - cell_len(tail), 4)
        yield _clip(head + _said(turn, room, wide, turn.prompt_key in asked) + tail, width - 1)
        asked.add(turn.prompt_key)
        waiting += _marked(followers.get(turn, []), below, wide)


def _marked(turns: list[Turn], indent: str, wide: bool) -> list[tuple[Turn, str, str]]:
    """(turn, what stands before it, what stands before those below it), the first one last: a stack."""
    if len(turns) < 2:
        return [(turn, indent, indent) for turn in turns]
    space = " " if wide else ""
    marks = [("|-", "| ")] * (len(turns) - 1) + [("`-", "  ")]
    return [
        (turn, f"{indent}{mark}{space}", f"{indent}{below}{space}")
        for turn, (mark, below) in zip(turns, marks, strict=True)
    ][::-1]


def _said(turn: Turn, room: int, wide: bool, known: bool) -> str:
    """Prompt and answer in `room` columns; where there is room for one alone, the answer if the prompt is known."""
    answer = f"-> {_flat(turn.answer.content)}" if turn.answer is not None else ""
    prompt = _flat(turn.prompt)
    if not wide or not answer:
        return _clip(answer if known and answer else prompt, room)
    prompt = _clip(prompt, max(room // 2, room - cell_len(answer) - 1))
    return f"{prompt} {_clip(answer, room - cell_len(prompt) - 1)}"


def _counts(turn: Turn, wide: bool) -> str:
    """What is to be known of an answer besides its text."""
    if turn.answer is None:
        return " (no answer)" if wide else " -"
    tokens = len(turn.answer.ids or ())
    if not wide:
        return f" {tokens}{' cut' if turn.cut else ''}"
    cut = ", cut" if turn.cut else ""
    dropped = f"; {turn.dropped.turns} dropped before" if turn.dropped else ""
    return f" ({count(tokens, 'token')}{cut}{dropped})"


def whereabouts(conversation: Conversation) -> Iterator[str]:
    """Where one is: the last turn of the branch, in a line or two."""
    turn = conversation.tip
    if turn is None:
        yield "The next prompt begins anew."
        return
    yield f"Turn {len(turn.path())} ({conversation.name(turn)}): {one_line(turn.prompt)}"
    if turn.answer is not None:
        yield f"-> {one_line(turn.answer.content)}"


def one_line(text: str, columns: int = LINE) -> str:
    """The beginning of a text, harmless and without line ends."""
    return _clip(_flat(text), columns)


def _flat(text: str) -> str:
    return " ".join(safe_text(text).split())


def _clip(text: str, columns: int) -> str:
    """At most so many columns of a text; two points stand for what is left out."""
    if cell_len(text) <= columns:
        return text
    return chop_cells(text, max(columns - 2, 1))[0] + ".."


def _last(text: str, columns: int) -> str:
    """At most so many columns of marks, those next to the turn."""
    return text if len(text) <= columns else "~" + text[len(text) - columns + 1 :]
