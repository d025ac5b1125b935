"""/preset: several settings at once, by name."""

from dataclasses import replace

from chat.config_show import described
from chat.repl.registry import Next, command
from chat.repl.state import Chat
from chat.settings import Rank, from_file, preset, settings_file


@command("/preset [NAME]")
def take_preset(chat: Chat, argument: str) -> Next:
    """Show the presets, or take one: what it sets is set, as by /set."""
    _, presets = from_file(settings_file())
    if not argument:
        for name, values in presets.items():
            chat.screen.tell(f"{name}: {described(values)}")
        return Next.PROMPT
    values = preset(argument, presets)
    source = f"/preset {argument}"
    changed = chat.settings.over({n: replace(v, source=source, rank=Rank.COMMAND) for n, v in values.items()})
    changed.sampling(chat.engine)  # refuses what does not go together, before it is in force
    chat.settings = changed
    chat.screen.tell(f"{argument}: {described(values)}")
    return Next.PROMPT
