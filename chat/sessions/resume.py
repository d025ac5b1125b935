"""Taking up a stored session: its settings, and its tree as a conversation that can go on. Torch-free."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chat.grounding import Found
from chat.repl.conversation import Conversation, Dropped, Run, Turn
from chat.sessions.journal import recover
from chat.sessions.keeper import Keeper
from chat.sessions.kept import Conversation as Stored
from chat.sessions.kept import Generation, Kept
from chat.sessions.provenance import Source, with_chosen
from chat.sessions.store import Store
from chat.settings import Rank, Settings
from engine.errors import UsageError
from engine.events import Finish, Timings, Usage
from engine.lookup import Example
from engine.params import SamplingParams
from engine.splits import Split
from engine.template import Message


@dataclass(frozen=True)
class Opened:
    """What a command goes on with: where it keeps what comes, under which settings, and what there was before."""

    keeper: Keeper
    settings: Settings
    stored: Stored | None = None
    killed: Sequence[str] = ()  # sessions of answers that were cut when a tfm was killed

    def remarks(self) -> list[str]:
        """What a person should know before the first prompt."""
        lines = []
        session = self.stored.session if self.stored else None
        if session is not None:
            lines.append(f"Session {session.id}, {session.messages} messages: {session.title}")
            path = self.stored.path() if self.stored else []
            if path and path[-1].cut:
                after = f" after {len(path[-1].ids)} tokens: /continue goes on" if path[-1].ids else ""
                lines.append(f"Its last answer was cut{after}.")
        for other in self.killed:
            if session is None or other != session.id:
                lines.append(f"An answer was cut when tfm was killed: `tfm chat --session {other}` goes on with it.")
        return lines


def open_session(
    settings: Settings, tell: Callable[[str], None], name: str | None, last: bool, *, to_person: bool = False
) -> Opened:
    """The session of a name, or the last one, to go on with; else a new one.

    to_person: somebody is there to be told of answers that were cut by a kill, so look for them.
    Raises UsageError when there is no such session, and StoreError when one is asked for and cannot be read.
    """
    if name is not None and last:
        raise UsageError("--continue and --session exclude each other.")
    if name is None and not last:
        keeper = Keeper.open(settings["history"], tell)
        return Opened(keeper, settings, killed=keeper.recover() if to_person else ())
    store = Store()
    killed = recover(store) if to_person else ()
    session = store.find(name) if name is not None else store.last()
    if session is None:
        raise UsageError("There is no conversation to go on with.", "`tfm history list` shows those that are kept.")
    stored = store.conversation(session)
    keeper = Keeper(store, tell, session)
    if not settings["history"]:
        keeper.close()
    return Opened(keeper, with_chosen(settings, _chosen(stored), session), stored, killed)


def _chosen(stored: Stored) -> Mapping[str, Any]:
    """What was set when the conversation last went on, the model by its name or path."""
    made = [run for message in stored.path() for run in message.generations] or [
        run for message in stored.messages for run in message.generations
    ]
    if not made:
        return {}
    if made[-1].settings.get("raw"):
        raise UsageError(
            f"The session {stored.session.id} continued a raw text: it has no turns to go on with.",
            "--session ID chooses another.",
        )
    return dict(made[-1].settings.get("chosen", {}))


def conversation_of(opened: Opened, system: str, source: Source) -> Conversation:
    """The conversation to go on with, a new one when nothing is stored. system: of a new one; a flag replaces its own.

    Ids are of use for the model alone that sampled them: another reads the text.
    """
    if opened.stored is None:
        return Conversation(system)
    model_hash = source.hashes["model_hash"]

    def is_own(answer: Kept) -> bool:
        return bool(answer.ids and answer.generations) and answer.generations[-1].model_hash == model_hash

    conversation = tree_of(opened.stored, is_own, "stored", opened.keeper.know)
    if max(opened.settings.values[name].rank for name in ("system", "system_file")) >= Rank.FLAG:
        conversation.system = system
    return conversation


def tree_of(
    stored: Stored, is_own: Callable[[Kept], bool], name: str, know: Callable[[str, int], None] | None = None
) -> Conversation:
    """A stored tree as a conversation that can go on, and stands where it stood.

    is_own: whether the ids of an answer may be used. name: with the number of a message, the key of its turn; `know`
    is told both.
    """
    conversation, turns = Conversation(), dict[int, Turn]()
    followed = {message.parent for message in stored.messages}
    for message in stored.messages:
        waits = message.role == "user" and message.id not in followed
        if message.role == "system" or (message.role == "user" and not waits):
            continue
        prompt = message if waits else stored.by_id[message.parent or 0]
        turn = _turn(prompt, None if waits else message, _answer_above(prompt, stored.by_id, turns), is_own(message))
        turn.prompt_key, turn.answer_key = f"{name} {prompt.id}", turn.answer_key if waits else f"{name} {message.id}"
        conversation.nodes.append(turn)
        turns[message.id] = turn
        if know is not None:
            know(turn.prompt_key, prompt.id)
            if not waits:
                know(turn.answer_key, message.id)
    path = stored.path()
    conversation.tip = next((turns[m.id] for m in reversed(path) if m.id in turns), None)
    conversation.system = next((m.text for m in reversed(path) if m.role == "system"), "")
    return conversation


def _answer_above(message: Kept, by_id: Mapping[int, Kept], turns: Mapping[int, Turn]) -> Turn | None:
    parent = message.parent
    while parent is not None and by_id[parent].role != "assistant":
        parent = by_id[parent].parent
    return None if parent is None else turns[parent]


def _turn(prompt: Kept, answer: Kept | None, parent: Turn | None, is_own: bool) -> Turn:
    turn = Turn(prompt.text, parent)
    if answer is None:
        return turn
    turn.answer = Message("assistant", answer.text, answer.ids if is_own else None)
    turn.cut = answer.cut
    if answer.found is not None:
        examples = tuple(Example(**example) for example in answer.found["examples"])
        turn.found = Found(examples, answer.found["why"])
    if answer.dropped is not None:
        turn.dropped = Dropped(**answer.dropped)
    turn.runs = tuple(Run(params_of(run.settings["sampling"]), finish_of(run)) for run in answer.generations)
    return turn


def params_of(sampling: Mapping[str, Any]) -> SamplingParams:
    """The sampler's settings of a record; JSON has made texts of the ids of logit_bias."""
    bias = {int(token): value for token, value in sampling.get("logit_bias", {}).items()}
    return SamplingParams(**{**sampling, "logit_bias": bias})


def finish_of(run: Generation) -> Finish | None:
    """What the engine told of a generation; None when it broke off."""
    if run.counts is None or run.splits is None or run.seed is None:
        return None
    return Finish(
        reason=run.reason, ids=run.ids, usage=Usage(**run.counts["usage"]), timings=Timings(**run.counts["timings"]),  # type: ignore[arg-type]
        seed=run.seed, stop=run.stop, prompt_ids=run.prompt_ids, prefill_splits=tuple(run.splits["prefill_splits"]),
        cached_splits=tuple(Split(*split) for split in run.splits["cached_splits"]), keep=run.splits["keep"],
    )  # fmt: skip
