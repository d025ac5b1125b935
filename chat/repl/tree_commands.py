"""The slash commands that move in the tree of turns: another answer, other words, other ways on, and back."""

from chat.repl.attach import with_files
from chat.repl.registry import Next, command, count
from chat.repl.state import Chat
from chat.repl.tree import draw, one_line, whereabouts
from engine.errors import UsageError


@command("/regen", "/retry")
def regenerate(chat: Chat, argument: str) -> Next:
    """Answer the last prompt again; the answer before stays in the tree."""
    if not chat.conversation.regenerate():
        raise UsageError("There is no prompt to answer again.")
    if chat.settings.sampling(chat.engine).is_greedy:
        chat.screen.tell("The sampling is greedy, so the answer will be the same; /set temperature 0.7 draws.")
    return Next.ANSWER


@command("/continue")
def go_on(chat: Chat, argument: str) -> Next:
    """Go on with the last answer where it was cut or met a limit."""
    turn = chat.conversation.tip
    if turn is None or turn.answer is None:
        raise UsageError("There is no answer to go on with.", "/regen answers the last prompt." if turn else "")
    if (turn.answer.ids is None and not turn.cut) or turn.ended in ("eos", "stop"):
        raise UsageError("The last answer is complete.", "/regen asks for another.")
    return Next.CONTINUE


@command("/undo")
def undo(chat: Chat, argument: str) -> Next:
    """Go back to before the last turn, which stays in the tree."""
    turn = chat.conversation.undo()
    if turn is None:
        raise UsageError("There is no turn to take back.")
    chat.screen.tell(f"Took back: {' '.join(turn.prompt.split())} (/switch {chat.conversation.name(turn)} returns)")
    return Next.PROMPT


@command("/edit N [TEXT]")
def edit(chat: Chat, argument: str) -> Next:
    """Ask turn N in other words, on a new branch; without TEXT, the old words are there to be changed."""
    digits = argument.split(maxsplit=1)[0] if argument else ""
    text = argument[len(digits) + 1 :]
    number = _number(digits, "/edit")
    prompt = chat.conversation.turn(number).prompt
    if text.strip():
        chat.conversation.edit(number, with_files(chat, text))
        return Next.ANSWER
    if not chat.shows_drafts:
        raise UsageError(f'Turn {number} was "{one_line(prompt)}".', f"/edit {number} TEXT asks it in other words.")
    chat.draft = f"/edit {number} {prompt}"
    return Next.PROMPT


@command("/branch [N]")
def branch(chat: Chat, argument: str) -> Next:
    """Let the next prompt follow turn N of this branch; 0 begins anew."""
    path = chat.conversation.path()
    chat.conversation.branch(_number(argument, "/branch") if argument else len(path))
    path = chat.conversation.path()
    if not path:
        chat.screen.tell("The next prompt begins anew.")
        return Next.PROMPT
    others = len(chat.conversation.children(path[-1]))
    beside = f", beside {count(others, 'branch', 'branches')}" if others else ""
    chat.screen.tell(f"The next prompt follows turn {len(path)}{beside}: {one_line(path[-1].prompt)}")
    return Next.PROMPT


@command("/switch ID")
def switch(chat: Chat, argument: str) -> Next:
    """Go to the end of the branch with this turn; /tree shows the ids."""
    if not argument:
        raise UsageError("/switch needs an id.", "/tree shows them.")
    chat.conversation.switch(argument)
    for line in whereabouts(chat.conversation):
        chat.screen.tell(line)
    return Next.PROMPT


@command("/tree")
def tree(chat: Chat, argument: str) -> Next:
    """Draw all turns with their ids: * is the way to >, after which the next prompt goes."""
    for line in draw(chat.conversation, chat.screen.width):
        chat.screen.tell(line)
    return Next.PROMPT


def _number(text: str, name: str) -> int:
    """The number of a turn. Raises UsageError for what is none."""
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{name} needs the number of a turn, not {text!r}." if text else f"{name} needs a number.")
    return int(text)
