"""The slash commands for a question at the shell: its command alone, and running it when the person says so."""

from chat.repl.attach import with_files
from chat.repl.file_commands import last_answer
from chat.repl.registry import Next, command
from chat.repl.state import Chat
from chat.shell_command import command_in_answer, run_command
from engine.errors import UsageError


@command("/cmd QUESTION")
def only_command(chat: Chat, argument: str) -> Next:
    """Ask for a command and see it alone; nothing is run."""
    if not argument:
        raise UsageError("/cmd needs a question.", "For example: /cmd find files larger than 100 MB")
    chat.conversation.ask(with_files(chat, argument))
    chat.only_command = True
    return Next.ANSWER


@command("/run")
def run(chat: Chat, argument: str) -> Next:
    """Show the command of the last answer, ask, and run it in your shell."""
    text = last_answer(chat)
    turn = chat.conversation.path()[-1]
    if turn.answer is None or turn.ended not in ("eos", "stop"):
        raise UsageError("The last answer is not complete, so its command may not be.", "/regen asks again.")
    found = command_in_answer(text, turn.found.examples)
    if not found:
        raise UsageError("The last answer holds no command.", "/cmd QUESTION asks for one.")
    run_command(found, chat.screen)
    return Next.PROMPT
