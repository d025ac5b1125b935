"""What a head may be found to do: relations between the tokens of a text, told by rules that need no parser.

A relation says, for some positions that look, which positions would be right to look at. The word classes are closed
ones: a rule that is sometimes wrong costs every head and the baseline alike. After Clark et al. 2019 ("What does BERT
look at?") and Olsson et al. 2022 (induction heads).
"""

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from weights.evaluate.tokens import END_MARKS, Span, Tokens, Turn

Links = dict[int, set[int]]  # the position that looks -> those that are right


@dataclass(frozen=True)
class Relation:
    """says: what a head does that carries it, after the words "each token looks at" or the like."""

    name: str
    says: str
    find: Callable[[Tokens], Links]


def _table(text: str) -> dict[str, set[str]]:
    """ "a b: x y" on each line -> each of a and b with the set of x and y."""
    lines = (line.partition(":") for line in text.strip().splitlines())
    return {word: set(right.split()) for left, _, right in lines for word in left.split()}


def _set(text: str) -> set[str]:
    return set(text.split())


OWNERS = _table("""
my mine myself me: i
your yours yourself: you
his himself him: he
her hers herself: she
our ours ourselves us: we
their theirs themselves them: they
its itself: it
""")
MEN = {"tom", "john", "jim", "bob", "ken", "mike", "bill", "jack", "tony", "father", "brother", "boy", "man", "uncle"}
WOMEN = {"mary", "jane", "alice", "nancy", "kate", "ann", "linda", "mother", "sister", "girl", "woman", "aunt", "wife"}
PEOPLE = dict.fromkeys(("he", "his", "him", "himself"), MEN) | dict.fromkeys(("she", "her", "hers", "herself"), WOMEN)
PARTNERS = _table("""
as: as so such
than: more less better worse rather other fewer older younger taller bigger earlier later faster easier larger
or: either whether
nor: neither
and: both between
then: if when
that: so such
to: too enough from
but: not
""")
VERBS = _table("""
for: wait waiting waited ask asked look looking looked pay paid apologize thank search searching blame sorry
to: listen listening listened talk talking talked speak speaking spoke belong belongs give gave went go going used
of: afraid tired proud think thinking thought full sick fond instead kind
from: come came comes suffering different borrowed prevent graduated
with: agree agreed help satisfied wrong married play playing deal angry stay
in: interested believe live lives lived succeeded
about: talk talking talked think thinking thought worry worried know knows knew
at: look looking looked laughed arrived stared good shouted
on: depends insisted keep put turn turned
""")
PRONOUNS = {"i", "you", "he", "she", "it", "we", "they"}
AUXILIARIES = _set(
    "am is are was were do does did have has had can could will would should must may might shall isn't aren't wasn't "
    "weren't don't doesn't didn't haven't hasn't hadn't can't couldn't won't wouldn't shouldn't mustn't"
)
QUESTION_WORDS = {"what", "who", "whom", "whose", "where", "when", "why", "how", "which"} | AUXILIARIES
NEGATIONS = {"not", "never", "no", "nobody", "nothing", "without", "cannot", "hardly", "neither"}
NEGATED = {"any", "anything", "anyone", "anybody", "anywhere", "ever", "yet", "anymore"}
ARTICLES = _set("a an the my your his her our their its this that these those some no any")
ADJECTIVES = _set(
    "old new young good bad big small little large great long short high low nice beautiful pretty ugly red white "
    "black blue green yellow brown hot cold warm cool best worst first second third last next only same other own "
    "whole strange happy sad rich poor hard easy difficult important interesting expensive cheap heavy light dark "
    "clean dirty strong weak famous favorite special simple true real wrong right few many most more very too so "
    "really quite such kind fine free full empty fast slow loud quiet serious terrible wonderful better young "
    "tall foreign french english japanese american public modern left two three four five ten several"
)
NO_NOUNS = (
    AUXILIARIES | PRONOUNS | ARTICLES | _set("of to in on at for from with by about as than and or but if that not")
)
PREPOSITIONS = _set("of in on at for from with by about into under over after before without during near behind")
HELPERS = _set(
    "do does did can could will would should must may might shall don't doesn't didn't can't couldn't won't wouldn't "
    "shouldn't mustn't"
)
BETWEEN = _set("not never always often really also still just even probably tom mary ever already soon only hardly")
REACH = 8  # words between the halves of a pair, at most


def _is_word(word: Span) -> bool:
    return word.text[0].isalnum()


def _of_sentences(find: Callable[[list[Span]], Links]) -> Callable[[Tokens], Links]:
    """A rule for the words of one sentence, made one for all of a text."""

    def of_all(tokens: Tokens) -> Links:
        return {q: keys for sentence in tokens.sentences for q, keys in find(sentence).items()}

    return of_all


def _to_any(looked: Mapping[str, set[str]]) -> Callable[[list[Span]], Links]:
    """Each word of a table to all of its words that the sentence has, on whichever side."""

    def find(words: list[Span]) -> Links:
        links: Links = {}
        for word in words:
            others = [other for other in words if other.lower in looked.get(word.lower, ())]
            if others:
                links[word.last] = set().union(*(other.positions for other in others))
        return links

    return find


def _to_nearest_before(looked: Mapping[str, set[str]]) -> Callable[[list[Span]], Links]:
    """Each word of a table to the nearest of its words before it."""

    def find(words: list[Span]) -> Links:
        links: Links = {}
        for place, word in enumerate(words):
            before = words[max(0, place - REACH) : place]
            nearest = next((b for b in reversed(before) if b.lower in looked.get(word.lower, ())), None)
            if nearest is not None:
                links[word.last] = nearest.positions
        return links

    return find


def _repeated(words: list[Span]) -> Links:
    links, seen = {}, dict[str, set[int]]()
    for word in words:
        if _is_word(word) and word.lower in seen:
            links[word.last] = set(seen[word.lower])
        seen.setdefault(word.lower, set()).update(word.positions)
    return links


def _end_mark(words: list[Span]) -> Links:
    mark = words[-1]
    return {w.last: mark.positions for w in words[:-1] if _is_word(w)} if mark.text in END_MARKS else {}


def _question_word(words: list[Span]) -> Links:
    asked = next((word for word in words if word.lower in QUESTION_WORDS), None)
    return {words[-1].last: asked.positions} if words[-1].text == "?" and asked else {}


def _subject(words: list[Span]) -> Links:
    """Auxiliary verb to the pronoun on its one side or, in a question, the other."""
    links: Links = {}
    for place, word in enumerate(words):
        if word.lower in AUXILIARIES:
            after, before = words[place + 1 : place + 2], words[max(0, place - 1) : place]
            subject = next((w for w in (*after, *before) if w.lower in PRONOUNS), None)
            if subject is not None:
                links[word.last] = subject.positions
    return links


def _negation(words: list[Span]) -> Links:
    denied = [w for w in words if w.lower in NEGATIONS or w.lower.endswith(("n't", "n’t"))]
    links: Links = {}
    for word in words:
        before = [w for w in denied if w.first < word.first]
        if before and word.lower in NEGATED:
            links[word.last] = set().union(*(w.positions for w in before))
    return links


def _governed(
    openers: Set[str], over: Set[str], reach: int, never: Set[str]
) -> Callable[[list[Span]], list[tuple[Span, Span]]]:
    """Finds (opener, the word that it belongs to): the first of `reach` words after it that is none of `over`.

    Nothing is found where that word is one of `never`, or no word.
    """

    def find(words: list[Span]) -> list[tuple[Span, Span]]:
        found = []
        for place, word in enumerate(words):
            if word.lower in openers:
                rest = [w for w in words[place + 1 : place + 1 + reach] if w.lower not in over]
                if rest and rest[0].text.isalpha() and rest[0].lower not in never:
                    found.append((word, rest[0]))
        return found

    return find


_noun_phrases = _governed(ARTICLES, ADJECTIVES, 3, NO_NOUNS)  # (article or the like, its noun)
_objects = _governed(PREPOSITIONS, ADJECTIVES | ARTICLES, 4, NO_NOUNS)  # (preposition, the noun that it governs)
_main_verbs = _governed(HELPERS, PRONOUNS | BETWEEN, 3, NO_NOUNS | ADJECTIVES)  # (do, can or the like, its verb)


def _pairs(find: Callable[[list[Span]], list[tuple[Span, Span]]], back: bool = False) -> Callable[[list[Span]], Links]:
    """The first of each pair to the second; back: the second to the first."""
    if back:
        return lambda words: {b.last: a.positions for a, b in find(words)}
    return lambda words: {a.last: b.positions for a, b in find(words)}


def _quotation(tokens: Tokens) -> Links:
    """A closing quotation mark, back tick or bracket to the one that opened."""
    links, open_marks = {}, dict[str, Span]()
    closes = {")": "(", "]": "[", "}": "{", "”": "“", "»": "«"}
    for word in tokens.words:
        opener = closes.get(word.text, word.text)
        if word.text in ('"', "`", *closes) and opener in open_marks:
            links[word.last] = open_marks.pop(opener).positions
        elif word.text in ('"', "`", *closes.values()):
            open_marks[word.text] = word
    return links


def _first_piece(tokens: Tokens) -> Links:
    """Later pieces of a word of letters to its first."""
    words = (word for word in tokens.words if word.text.isalpha())
    return {place: {word.first} for word in words for place in range(word.first + 1, word.end)}


SENTENCE = (
    Relation("pronoun to its owner", "my or myself looks at I, his at he, their at they", _of_sentences(
        _to_any(OWNERS))),
    Relation("pronoun to its person", "he or her looks at Tom, Mary, the boy", _of_sentences(_to_any(PEOPLE))),
    Relation("word to its repetition", "a word looks at where it stood before", _of_sentences(_repeated)),
    Relation("word to the end mark", "a word looks at the . ? or ! that ends its sentence", _of_sentences(_end_mark)),
    Relation("question mark to question word", "? looks at what, who, how, do, is", _of_sentences(_question_word)),
    Relation("auxiliary to its subject", "am, do, can looks at I, you, he on either side", _of_sentences(_subject)),
    Relation("article to its noun", "a, the, my looks at its noun over adjectives", _of_sentences(
        _pairs(_noun_phrases))),
    Relation("noun to its article", "a noun looks at its a, the, my over adjectives", _of_sentences(
        _pairs(_noun_phrases, back=True))),
    Relation("preposition to its noun", "in, of, with looks at the noun that it governs", _of_sentences(
        _pairs(_objects))),
    Relation("noun to its preposition", "a noun looks at the in, of, with that governs it", _of_sentences(
        _pairs(_objects, back=True))),
    Relation("auxiliary to its verb", "do, can, will looks at the verb that it helps", _of_sentences(
        _pairs(_main_verbs))),
    Relation("verb to its auxiliary", "a verb looks at its do, can, will", _of_sentences(
        _pairs(_main_verbs, back=True))),
    Relation("second half of a pair", "than looks at more, or at either, that at so, as at as", _of_sentences(
        _to_nearest_before(PARTNERS))),
    Relation("preposition to its verb", "for looks at waited, to at listen, of at afraid", _of_sentences(
        _to_nearest_before(VERBS))),
    Relation("any to its negation", "any, ever, yet looks at not, n't, never", _of_sentences(_negation)),
    Relation("closing to opening mark", "a closing quote or bracket looks at the opening one", _quotation),
    Relation("piece to the word's first piece", "a later piece of a word looks at its first piece", _first_piece),
)  # fmt: skip


# Conversations


def _same_before(tokens: Tokens, shift: int) -> Links:
    """Where the token of a position, if it is a word's, stood before; shift: so many positions after that."""
    links, seen = {}, dict[str, list[int]]()
    for place in range(len(tokens)):
        bare = tokens.bare(place)
        if not bare[:1].isalnum():
            continue
        if bare in seen:
            links[place] = {before + shift for before in seen[bare]} - {place}
        seen.setdefault(bare, []).append(place)
    return links


def _own_mark(tokens: Tokens) -> Links:
    return {p: {turn.mark} for turn in tokens.turns for p in range(turn.mark + 1, turn.end)}


def _asked(tokens: Tokens) -> Links:
    """The mark where an answer begins to the question word of the question before it."""
    links: Links = {}
    for question, answer in zip(tokens.turns, tokens.turns[1:], strict=False):
        if (question.role, answer.role) == ("user", "assistant"):
            inside = (w for w in tokens.words if question.mark < w.first < question.end)
            asked = next((w for w in inside if w.lower in QUESTION_WORDS), None)
            if asked:
                links[answer.mark] = asked.positions
    return links


NAME = re.compile(r"(?<![.!?\n] )(?<=[ ])[A-ZÀ-Ž]\w+")  # a capital inside a sentence
FILE = re.compile(r"[\w-]+\.[a-z]\w{1,3}(?![\w.])")
LONG_WORD = re.compile(r"[A-Za-z]{4,}")


def _copied(pattern: re.Pattern[str], role: str) -> Callable[[Tokens], Links]:
    """Positions at which an answer is about to write a piece that the role has said -> where it said that piece."""

    def find(tokens: Tokens) -> Links:
        links: Links = {}
        for span in tokens.spans(pattern):
            said_by = next((turn for turn in tokens.turns if turn.mark < span.first < turn.end), None)
            if said_by is None or said_by.role != role:
                continue
            for turn in tokens.turns:
                if turn.role == "assistant" and turn.mark > span.first:
                    for start in _again(tokens, span, turn):
                        for i in range(span.end - span.first):
                            links.setdefault(start + i - 1, set()).add(span.first + i)
        return links

    return find


def _again(tokens: Tokens, span: Span, turn: Turn) -> list[int]:
    """Where the pieces of a span stand again in a turn."""
    wanted = [tokens.bare(p) for p in range(span.first, span.end)]
    starts = range(turn.mark + 1, turn.end - len(wanted) + 1)
    return [s for s in starts if [tokens.bare(s + i) for i in range(len(wanted))] == wanted]


CONVERSATION = (
    Relation("induction", "a token that stood before looks at the token that came after it then",
             lambda tokens: _same_before(tokens, 1)),
    Relation("token to its repetition", "a token looks at where it stood before",
             lambda tokens: _same_before(tokens, 0)),
    Relation("name from the system prompt", "about to write a name, it looks at that name in the system prompt",
             _copied(NAME, "system")),
    Relation("file name from the question", "about to write a file name, it looks at that name in the question",
             _copied(FILE, "user")),
    Relation("word from the question", "about to write a word of the question, it looks at that word there",
             _copied(LONG_WORD, "user")),
    Relation("token to the mark of its turn", "a token looks at <|system|>, <|user|> or <|assistant|> before its turn",
             _own_mark),
    Relation("answer's mark to the question word", "<|assistant|> looks at what, how, is in the question", _asked),
)  # fmt: skip


# Translations


def translated(entries: Mapping[str, str]) -> Callable[[Tokens, Tokens], Links]:
    """Target tokens to the source word that they translate, by a dictionary or because both are spelled alike.

    The position that looks is the one at which a piece is about to be written, the one before it.
    """

    def find(target: Tokens, source: Tokens) -> Links:
        links: Links = {}
        for word in target.words:
            right = [w for w in source.words if _is_word(w) and word.lower in (w.lower, entries.get(w.lower))]
            if right and _is_word(word):
                keys = set().union(*(w.positions for w in right))
                links |= {place - 1: keys for place in word.positions if place}
        return links

    return find


TRANSLATED = Relation(
    "word that is translated", "about to write a word, it looks at the word of the source that this translates",
    lambda tokens: {},  # told by `translated`, which reads two texts
)  # fmt: skip


def joined(relations: Sequence[Relation], tokens: Tokens) -> dict[str, Links]:
    """The links of all relations in one text, by their names."""
    return {relation.name: relation.find(tokens) for relation in relations}
