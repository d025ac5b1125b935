"""How a model is asked for what it can do: what stands around a source, and what a target begins with.

A route is data: translating from one language to another is one, summarising is one. The model and the search know
nothing of languages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoint import read_json
from engine.errors import CheckpointError, UsageError
from engine.tokenizer import SentencePieceTokenizer
from weights.data.pairs import BOS, EOS, PAD, language_control, required
from weights.models.config import Seq2SeqConfig
from weights.models.generation import Generation, read_generation, task_params
from weights.models.hf_tokenizers import MBART_50_LANGUAGES, MarianTokenizer, TextTokenizer
from weights.models.kinds import wrong_kind


@dataclass(frozen=True)
class Route:
    """text: before a source, as text.  before, after: ids around its ids.  start: what the decoder reads first.

    forced: ids that every target begins with after that.
    """

    start: int
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    forced: tuple[int, ...] = ()
    text: str = ""

    def source(self, tokenizer: TextTokenizer, text: str, room: int) -> list[int]:
        """The ids of a source, of at most `room` positions: one endless word may be cut. Empty for an empty text."""
        ids = tokenizer.encode(text)
        if not ids:
            return []
        if self.text:
            ids = tokenizer.encode(self.text + text)
        room -= len(self.before) + len(self.after)
        return [*self.before, *ids[:room], *self.after]


Routes = Mapping[tuple[str, str], Route]  # (from, to) -> how


def own_routes(tokenizer: SentencePieceTokenizer, languages: Sequence[str]) -> Routes:
    """From English, in the layout that this project trains. Raises TokenizerError when a control token is missing."""
    bos, eos, _ = (required(tokenizer, name) for name in (BOS, EOS, PAD))
    controls = {language: required(tokenizer, language_control(language)) for language in languages}
    return {("en", language): Route(bos, (control,), (eos,)) for language, control in controls.items()}


def choose(routes: Routes, to: str | None, source: str | None) -> Route:
    """The route between two languages; "fr" means fr_XX where no other begins so. source: None where only one fits.

    Raises UsageError, with the languages that there are, when none fits or several do.
    """
    targets = dict.fromkeys(target for _, target in routes)
    if to is None:
        raise UsageError("It is not said which language to translate to.", f"It knows {', '.join(targets)}.")
    fitting = {pair: route for pair, route in routes.items() if _means(to, pair[1])}
    if not fitting:
        raise UsageError(f"This model does not translate to {to!r}.", f"It knows {', '.join(targets)}.")
    sources = sorted({pair[0] for pair in fitting})
    if source is None and len(sources) > 1:
        raise UsageError(
            f"It is not said which language to translate from to {to}.", f"Give --from: {', '.join(sources)}."
        )
    fitting = {pair: route for pair, route in fitting.items() if source is None or _means(source, pair[0])}
    if not fitting:
        raise UsageError(f"This model does not translate to {to} from {source!r}.", f"It knows {', '.join(sources)}.")
    return next(iter(fitting.values()))


def _means(said: str, language: str) -> bool:
    return said in (language, language.split("_")[0])


def translation_routes(
    directory: Path, raw: Mapping[str, Any], config: Seq2SeqConfig, tokenizer: TextTokenizer
) -> Routes:
    """The routes of a checkpoint in Hugging Face's layout.

    mBART's are between all its languages, Marian's are told by its tokenizer's files, T5's by task_specific_params.
    Raises CheckpointError when there is none.
    """
    architecture = raw["architectures"][0]
    if architecture == "BartForConditionalGeneration":
        raise wrong_kind(directory, architecture, "does not translate", "")
    routes: dict[tuple[str, str], Route] = {}
    if architecture == "MBartForConditionalGeneration":
        routes = _mbart_routes(config, tokenizer)
    elif architecture == "MarianMTModel":
        routes = _marian_routes(directory, config, tokenizer)
    elif architecture == "T5ForConditionalGeneration":
        for task in task_params(raw):
            kind, _, pair = task.partition("_")
            source, _, target = pair.partition("_to_")
            if kind == "translation" and source and target:
                routes[source, target] = plain_route(raw, config, read_generation(raw, {}, task))
    if not routes:
        raise CheckpointError(f"{directory} holds a {architecture} that names no languages to translate between.")
    return routes


def plain_route(raw: Mapping[str, Any], config: Seq2SeqConfig, generation: Generation) -> Route:
    """Of a model with one task, or one that text asks for: <s> (BART alone), the text, </s>."""
    bos = raw.get("bos_token_id")
    is_bart = raw["architectures"][0] == "BartForConditionalGeneration"
    forced = () if generation.forced_bos is None else (generation.forced_bos,)
    before = (0 if bos is None else bos,) if is_bart else ()
    return Route(config.bos_id, before, (config.eos_id,), forced, generation.prefix)


def _mbart_routes(config: Seq2SeqConfig, tokenizer: TextTokenizer) -> dict[tuple[str, str], Route]:
    """mBART writes the language after the source, and begins with the target's; mBART-50 writes it before both."""
    codes = {name: i for name in MBART_50_LANGUAGES if (i := tokenizer.control_id(name)) is not None}
    is_50, eos = "af_ZA" in codes, config.eos_id
    return {
        (source, target): Route(config.bos_id, (codes[source],), (eos,), (codes[target],)) if is_50
        else Route(codes[target], (), (eos, codes[source]))
        for source in codes for target in codes if source != target
    }  # fmt: skip


def _marian_routes(directory: Path, config: Seq2SeqConfig, tokenizer: TextTokenizer) -> dict[tuple[str, str], Route]:
    """One target language, or several that >>code<< before the source asks for."""
    path = directory / "tokenizer_config.json"
    told = read_json(path) if path.is_file() else {}
    source, target = (told.get(key) for key in ("source_lang", "target_lang"))
    source = source if isinstance(source, str) else "any"
    if isinstance(tokenizer, MarianTokenizer) and tokenizer.targets:
        return {(source, name): Route(config.bos_id, (i,), (config.eos_id,)) for name, i in tokenizer.targets.items()}
    if not isinstance(target, str):
        return {}
    return {(source, target): Route(config.bos_id, (), (config.eos_id,))}
