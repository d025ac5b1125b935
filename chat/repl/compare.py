"""/compare: one prompt under two to four settings of the sampler, on one prefill and with one seed.

The prompt is read once; each answer then begins in the same state of the cache and draws with the same random
numbers, so that what differs between the answers is the setting's doing.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from io import StringIO

from chat.answer import Answer, Interrupt, why_it_ended
from chat.render import safe_text
from chat.repl.attach import with_files
from chat.repl.comparison import Comparison, Variant
from chat.repl.conversation import Run
from chat.repl.registry import Next, command, count
from chat.repl.state import Chat
from chat.screen import Screen
from chat.settings import SAMPLING, Rank, Settings, Value, read
from engine.errors import UsageError
from engine.events import StreamEvent, TextDelta
from engine.template import Message

FEWEST, MOST = 2, 4
COLUMN = 30  # columns of the terminal that an answer needs to stand beside another
GAP = 3
GRAM = 4  # tokens; the length of what is looked for again
SEED_BITS = 31
COMPARABLE = tuple(name for name in SAMPLING if name not in ("seed", "logit_bias", "stop"))


def measures(variant: Variant) -> str:
    """How sure the model was of what was drawn and of anything, per token and in nats, by its own distribution;
    and how much of the answer repeats itself."""
    tokens = variant.answer.tokens
    if not tokens:
        return "no token"
    logprob = sum(token.logprob for token in tokens) / len(tokens)
    entropy = sum(token.entropy or 0.0 for token in tokens) / len(tokens)
    return (
        f"{count(len(tokens), 'token')}; log-probability {logprob:.2f}, entropy {entropy:.2f}, "
        f"repetition {repetition([token.id for token in tokens]):.0%}"
    )


def repetition(ids: Sequence[int]) -> float:
    """The share of runs of four tokens that had stood in the answer before."""
    grams = [tuple(ids[n : n + GRAM]) for n in range(len(ids) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


@command("/compare A B [C D] [-- PROMPT]")
def compare(chat: Chat, argument: str) -> Next:
    """Answer a prompt (or the last) under settings such as temperature=0.2,top_k=5; `/compare take N` keeps one."""
    if chat.engine.tokenizer is None:
        raise UsageError("/compare cannot be done with a server: it tells no tokens, and shares no prefill.")
    words, dashes, question = f" {argument} ".partition(" -- ")
    if words.split()[:1] == ["take"]:
        return _take(chat, argument.split()[1:])
    labels = words.split()
    if not FEWEST <= len(labels) <= MOST:
        raise UsageError(
            f"/compare needs {FEWEST} to {MOST} settings, not {len(labels)}.",
            "For example: /compare temperature=0.2 temperature=1.2,top_p=0.9",
        )
    if dashes and not question.strip():
        raise UsageError("/compare has no prompt after --.")
    if not dashes and chat.conversation.tip is None:
        raise UsageError("There is no prompt to compare answers to.", "/compare A B -- PROMPT gives one.")
    seed = chat.settings["seed"]
    seed = secrets.randbits(SEED_BITS) if seed is None else seed
    params = [_changed(chat.settings, label).sampling(chat.engine, logprobs=1) for label in labels]
    variants = [Variant(label, replace(p, seed=seed)) for label, p in zip(labels, params, strict=True)]
    chat.comparison = Comparison(variants, with_files(chat, question.strip()) if dashes else None)
    return Next.COMPARE


def _changed(settings: Settings, label: str) -> Settings:
    """The settings with those of `name=value,name=value` over them. Raises UsageError that names the wrong one."""
    values = {}
    for item in label.split(","):
        name, equals, text = item.partition("=")
        name = name.lstrip("-").replace("-", "_")
        if not equals or name not in COMPARABLE:
            raise UsageError(f"/compare cannot set {item!r}.", _settings_near(name))
        values[name] = Value(read(name, text, name), "/compare", Rank.COMMAND)
    if "temperature" in values:
        values.setdefault("greedy", Value(False, "/compare", Rank.COMMAND))
    return settings.over(values)


def _settings_near(name: str) -> str:
    """The settings that it can set, those first whose names are like this one."""
    near = get_close_matches(name, COMPARABLE, n=len(COMPARABLE), cutoff=0.5)
    return f"It takes NAME=VALUE with {', '.join([*near, *(n for n in COMPARABLE if n not in near)])}."


def carry_out(chat: Chat, interrupt: Interrupt) -> None:
    """Answer under each of the settings. The conversation stays as it is, until one of the answers is taken."""
    comparison = chat.comparison
    assert comparison is not None, "/compare has made one"
    if comparison.question is None:
        chat.conversation.regenerate()
    else:
        chat.conversation.ask(comparison.question)
    chat.ground()
    longest = max((variant.params for variant in comparison.variants), key=lambda params: params.max_new_tokens)
    messages = chat.prepare(longest)
    comparison.turn = chat.conversation.path()[-1]
    chat.conversation.withdraw()
    try:
        _read(chat, comparison, messages, interrupt)
        columns = chat.screen.out.isatty() and chat.screen.width >= COLUMN * len(comparison.variants)
        (_beside if columns else _one_after_another)(chat, comparison, messages, interrupt)
    except KeyboardInterrupt:
        pass  # a second Ctrl-C: what has come is shown, and can be taken
    if any(variant.answer.tokens for variant in comparison.variants):
        chat.screen.tell(f"seed {comparison.variants[0].params.seed}; /compare take N keeps an answer")


def _read(chat: Chat, comparison: Comparison, messages: Sequence[Message], interrupt: Interrupt) -> None:
    """Read the prompt, once for all: the answers' caches then hold the same numbers, and are of the same length."""
    params = replace(comparison.variants[0].params, max_new_tokens=1, min_new_tokens=0)
    Answer().follow(chat.engine.chat(messages, params, overflow=chat.overflow, cancelled=interrupt),
                    chat.screen, interrupt, lambda delta: None)  # fmt: skip


def _events(chat: Chat, variant: Variant, messages: Sequence[Message], interrupt: Interrupt) -> Iterator[StreamEvent]:
    return chat.engine.chat(messages, variant.params, overflow=chat.overflow, cancelled=interrupt)


def _one_after_another(
    chat: Chat, comparison: Comparison, messages: Sequence[Message], interrupt: Interrupt
) -> None:  # fmt: skip
    """Each answer as it comes, between its settings and its measures."""
    for number, variant in enumerate(comparison.variants, 1):
        if interrupt():
            return
        chat.screen.tell(f"{number}  {variant.label}")
        events = _events(chat, variant, messages, interrupt)
        try:
            variant.answer.show(
                events, chat.screen, interrupt, chat.screen.renderer(), hide_thinking=chat.settings["hide_thinking"]
            )
        finally:
            chat.screen.tell("; ".join(filter(None, (measures(variant), _end(chat, variant)))))


def _beside(chat: Chat, comparison: Comparison, messages: Sequence[Message], interrupt: Interrupt) -> None:
    """All answers, and then the table of them: what is written is never drawn again."""
    total = len(comparison.variants)
    try:
        for number, variant in enumerate(comparison.variants, 1):
            if interrupt():
                break
            progress = _progress(chat.screen, f"answer {number} of {total}", variant.answer)
            variant.answer.follow(_events(chat, variant, messages, interrupt), chat.screen, interrupt, progress)
    finally:
        chat.screen.stop_waiting()
        chat.screen.write(table(comparison.variants, chat.screen, [_end(chat, v) for v in comparison.variants]))


def _progress(screen: Screen, name: str, answer: Answer) -> Callable[[TextDelta], None]:
    """What to do at each delta of an answer that is not written yet: say how long it is."""
    return lambda _: screen.wait(f"{name}, {count(len(answer.tokens), 'token')}")


def table(variants: Sequence[Variant], screen: Screen, ends: Sequence[str]) -> str:
    """The answers in columns of equal width, each between its settings and its measures."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False, expand=True)
    for _ in variants:
        grid.add_column(ratio=1, overflow="fold")
    answers = [safe_text(variant.answer.text).strip("\n") for variant in variants]
    for row in (
        [f"{n}  {variant.label}" for n, variant in enumerate(variants, 1)],
        answers,
        ["; ".join(filter(None, pair)) for pair in zip(map(measures, variants), ends, strict=True)],
    ):
        grid.add_row(*map(Text, row))
    out = StringIO()
    Console(file=out, width=screen.width, color_system=None, force_terminal=False).print(grid)
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def _end(chat: Chat, variant: Variant) -> str:
    """Why an answer ended, if not by itself."""
    return why_it_ended(variant.answer.finish, variant.params.max_new_tokens, chat.engine.context)


def _take(chat: Chat, words: Sequence[str]) -> Next:
    """Make an answer of the last comparison part of the conversation: a branch beside what is there."""
    comparison = chat.comparison
    if comparison is None or comparison.turn is None:
        raise UsageError("There is no comparison to take an answer from.")
    number = int(words[0]) if len(words) == 1 and words[0].isascii() and words[0].isdigit() else 0
    if not 1 <= number <= len(comparison.variants):
        raise UsageError(f"/compare take needs a number from 1 to {len(comparison.variants)}.")
    variant, asked = comparison.variants[number - 1], comparison.turn
    answer = variant.answer
    if not answer.ids:
        raise UsageError(f"Answer {number} was cut before it began.")
    turn = asked.again()
    turn.found, turn.dropped = asked.found, asked.dropped
    run = Run(variant.params, answer.finish)
    chat.conversation.enter(turn)
    chat.conversation.keep(answer.content, answer.ids, cut=run.reason == "interrupted", run=run)
    chat.last = answer.finish
    chat.screen.tell(f"Answer {number} ({variant.label}) is turn {len(turn.path())} now.")
    return Next.PROMPT
