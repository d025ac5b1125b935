"""What `tfm verify` looks at in a tokenizer and a template: do texts come back, and do words stay words? Torch-free."""

import json
from collections.abc import Callable, Collection, Iterator

import sentencepiece

from engine.errors import TokenizerError
from engine.template import Template
from engine.template_lint import forged_by, lint
from engine.tokenizer import SentencePieceTokenizer, Tokenizer
from engine.verification import Row, named

# By the name that is told when one does not come back.
TEXTS = {
    "English": "The quick brown fox doesn't jump over 12 lazy dogs; it's 3.14 m away (or so).",
    "German": "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. „Ja?“",
    "French": "Portez ce vieux whisky au juge blond qui fume, là-bas, à l'œuvre : ça va ?",
    "Polish": "Zażółć gęślą jaźń.",
    "Turkish": "İstanbul'da ılık bir gün: ığdır, İĞDIR.",
    "Vietnamese": "Tiếng Việt có nhiều dấu thanh.",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "Russian": "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה.",
    "Arabic": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر.",
    "Hindi": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश।",
    "Thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "Chinese": "我能吞下玻璃而不伤身体。𠀀𠮷",
    "Japanese": "いろはにほへと ちりぬるを、カタカナとﾊﾝｶｸ。",
    "Korean": "다람쥐 헌 쳇바퀴에 타고파.",
    "emoji": "😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 1️⃣",
    "composed and decomposed": "é e\u0301 Å \u212b ﬁ ｗｉｄｅ ²",
    "white space": "  two  before,\ttab,\n\n\nlines\r\n and after  ",
    "only spaces": "     ",
    "other spaces": "a\u00a0b\u2003c\u3000d\u2028e",
    "the mark of a space": "a▁b ▁▁",
    "control characters": "\x00\x01\x07\x08\x1b[31m\x7f\x9b",
    "invisible characters": "\ufeffa\u200bb\u202ec\u2066d\u00ade\ufffd",
    "private use and beyond": "\ue000 \U000f0000 \U0010ffff",
    "code": "def f(x):\n    return {'a': x[0]**2, \"b\": not x}  # ok\n\tif (a&&b||!c) { *p++ = ~0x1F; }\n",
    "a long word": "a" * 500,
    "a long run of spaces": "x" + " " * 300 + "y",
    "a long run of lines": "\n" * 200,
    "a long run of emoji": "😀" * 100,
    "digits": "0123456789" * 30 + " 1,000,000.00 1e-10",
}
# What is so by a template's own design, with a copy that is whole: a note.
BY_DESIGN = (
    "The template has no place for a system prompt", "The template rewrites earlier answers",
    "The template drops earlier thoughts", "The template's roles are plain words",
)  # fmt: skip


def round_trip(tokenizer: Tokenizer, rows: int) -> Row:
    """Every text of TEXTS to ids and back. rows: of the embedding; an id beyond them is a fault.

    A text that comes back as the tokenizer's own file rewrites it, or whose characters have no piece and become the
    unknown one, is a note.
    """
    lost, rewritten, unknown = [], [], []
    own_rules = _OwnRules(tokenizer)
    for name, text in TEXTS.items():
        ids = tokenizer.encode(text)
        back = tokenizer.decode(ids)
        if any(not 0 <= token < rows for token in ids):
            lost.append(f"{name} (an id beyond the embedding's {rows} rows)")
        elif back == text:
            continue
        elif own_rules.unknown in [tokenizer.piece(token) for token in ids]:
            unknown.append(name)
        elif back.removeprefix(" ") == own_rules.rewrite(text).removeprefix(" "):
            rewritten.append(name)
        else:
            lost.append(name)
    said = f"{len(TEXTS) - len(lost) - len(rewritten) - len(unknown)} of {len(TEXTS)} texts come back"
    if rewritten:
        said += f"; rewritten by the tokenizer's own rules: {', '.join(rewritten)}"
    if unknown:
        said += f"; with characters it has no piece for: {', '.join(unknown)}"
    if lost:
        return Row("tokenizer", "differs", f"{said}; other when they come back: {', '.join(lost)}", len(lost), 0)
    return Row("tokenizer", "same", said, 0, 0)


class _OwnRules:
    """How a tokenizer's own file rewrites a text before it is cut; unknown: its piece for what has none, or None."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.unknown: str | None
        if isinstance(tokenizer, SentencePieceTokenizer):
            processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.proto())
            self._normalise: Callable[[str], str] = processor.normalize
            self.unknown = str(processor.id_to_piece(processor.unk_id()))
            return
        from tokenizers import Tokenizer as Backend

        from engine.tokenizer_json import JsonTokenizer

        assert isinstance(tokenizer, JsonTokenizer)
        told = tokenizer.described()
        empty = {"type": "BPE", "vocab": {}, "merges": []}
        step = Backend.from_str(json.dumps({"model": empty, "normalizer": told.get("normalizer")})).normalizer
        self._normalise = step.normalize_str if step is not None else str
        unk_id = told["model"].get("unk_id")
        self.unknown = told["model"].get("unk_token") if unk_id is None else tokenizer.piece(unk_id)

    def rewrite(self, text: str) -> str:
        """The text as it should come back, but for a space before it. A space is written ▁ on the way."""
        return str(self._normalise(text)).replace("▁", " ")


def injection(tokenizer: Tokenizer, template: Template | None, special: Collection[int]) -> Row:
    """The text of every control token, as a user may type it, never becomes the token.

    special: ids that the config makes an end or a beginning; they must be control tokens, or their text would be one.
    """
    forbidden = {control.id for control in tokenizer.controls.values()} | set(special)
    names = dict.fromkeys([*tokenizer.controls, *map(tokenizer.piece, special)])
    faults = []
    for name in names:
        try:
            found = [token for ids in _typed(tokenizer, name) for token in ids]
        except TokenizerError as e:
            faults.append(str(e))
            continue
        if forged := sorted(forbidden.intersection(found)):
            faults.append(f"{name} that is typed becomes the token {forged[0]}")
    if template is not None and (name := forged_by(template, tokenizer)):
        faults.append(f"the words of a message can become {name} in the template")
    if faults:
        return Row("injection", "differs", named(faults), len(faults), 0)
    return Row("injection", "same", f"{len(names)} control tokens, typed by a user, stay text", 0, 0)


def _typed(tokenizer: Tokenizer, name: str) -> Iterator[list[int]]:
    """The ids of a name in some places of a text, at its beginning and within a prompt."""
    for text in (name, f"a {name} b{name}", f"\n{name}{name}", f" {name} "):
        yield tokenizer.encode(text)
        yield tokenizer.encode_within(text)


def template_lint(template: Template, tokenizer: Tokenizer, ends: Collection[int]) -> Row:
    """What engine/template_lint.py finds in a template; what is so by design is a note. ends: those of the files."""
    remarks = lint(template, tokenizer, ends)
    faults = [remark for remark in remarks if not remark.startswith(BY_DESIGN)]
    if faults:
        return Row("template", "differs", " ".join(faults), len(faults), 0)
    said = "BOS once, an answer's beginning and end marked"
    return Row("template", "same", " ".join([f"{said}.", *remarks]) if remarks else said, 0, 0)
