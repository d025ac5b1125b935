"""The wording of shell examples: questions round a description, and the one answer format. Torch-free.

A description is an infinitive ("extract a tar.gz archive") or a line of a man-page digest ("List all users:").
"""

# ruff: noqa: SIM905 (word lists read best as words)

import random
import re
import tomllib
from collections.abc import Callable, Sequence
from functools import lru_cache

from weights.data.own.heldout import EVALUATE

_HELD_OUT = EVALUATE / "shell.toml"

VERBS = frozenset(
    """list start show create run print set remove open generate view specify add convert install check use delete
    search update execute get build download connect enable compile change scan send initialize launch copy output
    extract read write log find disable perform test stop force save compare apply edit format export upgrade compress
    uninstall load do move render restore dump switch reset make verify replace filter play capture calculate query
    clean clear clone mount analyze fetch import retrieve ignore merge select include skip ping upload limit lint
    publish synchronize validate take reload turn count wait pull monitor lock sort allow push record exclude restart
    split deploy rename append kill evaluate decrypt configure mark report enter resume pass authenticate sign store
    exit preview go activate produce return cancel decompress destroy encrypt resolve increase toggle register commit
    attach reboot describe watch sync match overwrite decode parse rebuild scale unset encode simulate prompt listen
    define request submit rotate give provide follow terminate refresh look suppress override keep inspect archive
    call detect modify quit stream manage combine browse fix detach prepare optimize close reverse continue bundle
    replay attempt benchmark unmount forward explain serve debug join speak put invoke deny bring trace tag transpile
    bind link migrate revert declare resize receive insert roll compute enumerate suspend share prevent subscribe
    pause ask transform try repair see choose trigger align undo adjust hide halt translate jump assign probe measure
    unlock determine reformat decrease expose map locate concatenate highlight flush spawn eject substitute colorize
    examine wrap recover paste restrict erase discover authorize reduce transfer schedule redirect boot track accept
    treat deactivate empty review revoke uncompress identify invert strip grant customize access navigate save print
    let leave hold tell display unpack wipe discard duplicate repeat unzip zip archive round squash store become
    unstage time page pipe dedupe untar loop store""".split()
)

_ADVERBS = frozenset(
    "recursively interactively forcefully forcibly automatically quickly manually permanently explicitly securely "
    "continuously gracefully temporarily immediately silently verbosely only also periodically".split()
)
_AND_VERBS = frozenset(
    "print show display save write delete remove create exit run store open download install overwrite convert extract "
    "start stop keep replace enter restart execute send upload make give list add".split()
)

_FRAMES: tuple[tuple[str, int], ...] = (
    ("How do I {x}?", 26),
    ("How to {x}?", 8),
    ("How to {x}", 8),
    ("How can I {x}?", 12),
    ("How would I {x}?", 3),
    ("How do you {x}?", 4),
    ("How does one {x}?", 1),
    ("How do I {x} in linux?", 4),
    ("How can I {x} in linux?", 3),
    ("How do I {x} from the terminal?", 3),
    ("How do I {x} on the command line?", 3),
    ("How do I {x} in bash?", 2),
    ("What's the command to {x}?", 7),
    ("What is the command to {x}?", 4),
    ("What command do I use to {x}?", 3),
    ("Which command can I use to {x}?", 3),
    ("What can I type to {x}?", 2),
    ("What do I type to {x}?", 2),
    ("{x}", 12),
    ("Command to {x}", 4),
    ("Linux command to {x}", 3),
    ("Shell command to {x}", 3),
    ("Bash: {x}", 1),
    ("I want to {x}", 5),
    ("I want to {x}. What's the command?", 2),
    ("I'd like to {x}. How?", 1),
    ("I need to {x}", 4),
    ("Need to {x}", 2),
    ("I'm trying to {x}", 2),
    ("Give me a command that will {x}", 2),
    ("Give me a command to {x}", 2),
    ("Show me how to {x}", 3),
    ("Tell me how to {x}", 2),
    ("Can you tell me how to {x}?", 2),
    ("Please tell me how to {x}.", 1),
    ("Could you show me how to {x}?", 1),
    ("Is there a command to {x}?", 2),
    ("Is there a way to {x}?", 2),
    ("What is the easiest way to {x}?", 1),
    ("What's a quick way to {x}?", 1),
    ("I forgot how to {x}", 1),
    ("Help me {x}", 1),
    ("Hi, how do I {x}?", 1),
    ("Hey, how can I {x}?", 1),
)
_PLAIN_FRAMES = ("{x}", "Command: {x}", "Bash: {x}", "What's the command for this: {x}", "Shell command: {x}")
_EXPLAIN_FRAMES = (
    "What does `{x}` do?",
    "What does `{x}` do?",
    "What does {x} do?",
    "What does the command `{x}` do?",
    "Explain `{x}`",
    "Explain: {x}",
    "Explain this command: {x}",
    "What is `{x}` for?",
    "What happens if I run `{x}`?",
    "What does this do: {x}",
    "Tell me what `{x}` does.",
    "Can you explain `{x}`?",
)


@lru_cache(maxsize=1)
def held_out() -> frozenset[str]:
    """The evaluation questions, as `normalise` leaves them: none of them may be a user turn."""
    with _HELD_OUT.open("rb") as file:
        return frozenset(normalise(question["ask"]) for question in tomllib.load(file)["question"])


def normalise(text: str) -> str:
    """Letters and digits only, lower-case, single spaces: what two wordings are compared by."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower().replace("'", "")))


def clean(description: str) -> str:
    """The description on one line, without a final colon or full stop, key marks ("[c]reate") or a leading "To"."""
    text = " ".join(description.split())
    text = re.sub(r"^\[interactive\] *", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\[(\w)\](?=\w)", r"\1", text)
    text = re.sub(r"(?<=\w)\[(\w)\]", r"\1", text)
    text = re.sub(r"\[(\w+)\]", r"\1", text)
    text = re.sub(r"^to (?=[a-z])", "", text, flags=re.IGNORECASE)
    return text.rstrip(" .:;").strip()


def _lower_first(text: str) -> str:
    word = text.split(" ", 1)[0]
    return text if any(letter.isupper() for letter in word[1:]) or word == "I" else text[:1].lower() + text[1:]


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def third_person(verb: str) -> str:
    """`copy` -> `copies`."""
    special = {"do": "does", "go": "goes", "have": "has", "be": "is", "undo": "undoes", "redo": "redoes"}
    if verb in special:
        return special[verb]
    if verb in {"quit", "unzip", "zip"}:
        return f"{verb}s"
    if re.search(r"[^aeiou]y$", verb):
        return f"{verb[:-1]}ies"
    return f"{verb}es" if verb.endswith(("s", "x", "z", "ch", "sh")) else f"{verb}s"


_BASE = {third_person(verb): verb for verb in VERBS}


def _verb_at(words: Sequence[str]) -> int | None:
    """Where the leading verb stands (an adverb may come before it), or None."""
    for index, word in enumerate(words[:2]):
        if word.lower() in VERBS or word.lower() in _BASE:
            return index
        if word.lower() not in _ADVERBS:
            return None
    return None


def infinitive(description: str) -> str | None:
    """The description as what may follow "how do I", or None when it does not start with a known verb."""
    words = clean(description).split(" ")
    at = _verb_at(words)
    if at is None:
        return None
    words[at] = _BASE.get(words[at].lower(), words[at])
    return _lower_first(" ".join(words))


def sentence(description: str) -> str:
    """The description as one sentence about a command: "Lists all users." """
    words = clean(description).split(" ")
    at = _verb_at(words)
    if at is not None and words[at].lower() in VERBS:
        words[at] = third_person(words[at].lower())
        for index in range(at + 2, len(words)):
            if words[index - 1] in {"and", "then"} and words[index] in _AND_VERBS:
                words[index] = third_person(words[index])
    text = _upper_first(" ".join(words))
    return text if text.endswith(("!", "?")) else f"{text}."


def _typo(rng: random.Random, text: str) -> str:
    """Two neighbouring letters of one longer plain word change places."""
    spots = list(re.finditer(r"(?<![\w./`'\"-])[a-z]{5,}(?![\w./`'\"-])", text))
    if not spots:
        return text
    word = rng.choice(spots)
    at = word.start() + rng.randrange(1, len(word.group()) - 2)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _finish(rng: random.Random, text: str) -> str:
    """Casing, the final mark and, rarely, a slip of the fingers: as people type."""
    if rng.random() < 0.5:
        text = (
            _lower_first(text) if not text.startswith(("I ", "I'")) or rng.random() < 0.4 else text.replace("I", "i", 1)
        )
        if rng.random() < 0.5:
            text = re.sub(r"\bI\b(?!['`])", "i", text)
    if text.endswith("?") and rng.random() < 0.3:
        text = text[:-1]
    elif (
        not text.endswith("?") and rng.random() < 0.1 and re.match(r"how|what|which|is|can|could", text, re.IGNORECASE)
    ):
        text += "?"
    if rng.random() < 0.04:
        text = text.replace("What's", "Whats").replace("what's", "whats").replace("I'm", "im")
    return _typo(rng, text) if rng.random() < 0.02 else text


def _not_held_out(rng: random.Random, make: Callable[[], str], fallback: str) -> str:
    for _ in range(20):
        text = make()
        if normalise(text) not in held_out():
            return text
    return fallback


def ask(rng: random.Random, description: str, *, known: bool = False) -> str:
    """A natural question for the description; never one of the held-out questions.

    known: the description is an infinitive, whatever its first word.
    """
    x = clean(description) if known else infinitive(description)
    plain = clean(description) if x is None else x
    plain = plain.replace("`", "") if rng.random() < 0.8 else plain
    if rng.random() < 0.5:
        plain = re.sub(r" \((?:see|e\.g\.|i\.e\.|default)[^)]*\)", "", plain)

    def make() -> str:
        if x is None:
            frame = rng.choice(_PLAIN_FRAMES)
        else:
            frame = rng.choices([frame for frame, _ in _FRAMES], [weight for _, weight in _FRAMES])[0]
        if frame.endswith(("in linux?", "in bash?", "the terminal?", "command line?")) and (
            len(plain) > 60 or re.search(r"\b(linux|bash|terminal|command|git|vim|docker)\b", plain)
        ):
            frame = "How do I {x}?"
        return _finish(rng, _upper_first(frame.replace("{x}", plain)))

    return _not_held_out(rng, make, f"what is the shell command to {plain}")


def code(command: str) -> str:
    """The command in single backticks; fenced when it holds a newline or a backtick."""
    if "\n" in command or "`" in command:
        return f"```sh\n{command}\n```"
    return f"`{command}`"


def answer(rng: random.Random, command: str, explain: str | None) -> str:
    """The answer to a shell question: the command, then a line that says what it does, if there is one."""
    del rng  # one format everywhere; the parameter keeps the door open for variation
    explain = (explain or "").strip()
    return f"{code(command)}\n{sentence(explain)}" if explain else code(command)


def explain_question(rng: random.Random, command: str) -> str:
    """The reverse direction: what is this command?"""
    if "\n" in command or "`" in command:
        opening = rng.choice(
            ("What does this do?", "Explain this:", "what does this script do?", "explain this command:")
        )
        return f"{opening}\n{command}"

    def make() -> str:
        frame = rng.choice(_EXPLAIN_FRAMES)
        if rng.random() < 0.4:
            frame = frame[:1].lower() + frame[1:]
        if frame.endswith("`?") and rng.random() < 0.3:
            frame = frame[:-1]
        return frame.replace("{x}", command)

    return _not_held_out(rng, make, f"what does the command `{command}` do?")


def explain_answer(rng: random.Random, description: str, tool: str) -> str:
    """What the command does, as a sentence; a description without a known verb is quoted as it stands."""
    words = clean(description).split(" ")
    at = _verb_at(words)
    subject = rng.choice(("It ", "It ", "It ", "", "This command "))
    if at is not None:
        text = sentence(description)
        return f"{subject}{text[:1].lower()}{text[1:]}" if subject else text
    if tool:
        return f"It uses `{tool}` for this: {_lower_first(clean(description))}."
    return f"It is used to do this: {_lower_first(clean(description))}."
