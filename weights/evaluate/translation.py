"""How well a translator does: bits per byte while it is trained, chrF and BLEU when it is done, beside baselines."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from engine.errors import DataError
from engine.tokenizer import SentencePieceTokenizer
from weights.data.pairs import BOS, EOS, PAD, Pair, encode_pairs, pair_batch, required
from weights.models.checkpoint import TranslatorModel
from weights.models.dictionary import Dictionary
from weights.models.translate import Options, Translator
from weights.objectives import translation

AT_ONCE = 64  # pairs in one forward pass
SAMPLE = "He is reading a book in the garden."
LENGTHS = (1, 6, 9, 13, 21)  # words of an English sentence at which a class of lengths begins


@torch.no_grad()
def held_out_bits(
    model: TranslatorModel, tokenizer: SentencePieceTokenizer, language: str, pairs: Sequence[Pair]
) -> float:
    """Bits that the model needs for a byte of the true translations, </s> among the bits and not the bytes."""
    encoded = encode_pairs(pairs, language, tokenizer)
    bos, eos, pad = (required(tokenizer, name) for name in (BOS, EOS, PAD))
    order = encoded.widths.argsort(kind="stable")
    nats, n_bytes = 0.0, 0
    for start in range(0, len(order), AT_ONCE):
        rows = [(*encoded.pair(int(i)), encoded.control) for i in order[start : start + AT_ONCE]]
        nats += float(translation(model, pair_batch(rows, None, (bos, eos, pad))))
        n_bytes += sum(len(tokenizer.decode(target.tolist()).encode()) for _, target, _ in rows)
    return nats / math.log(2) / n_bytes


def sample(model: TranslatorModel, tokenizer: SentencePieceTokenizer, languages: Sequence[str]) -> str:
    """What becomes of one sentence, greedily."""
    translator = Translator.of(model, tokenizer, languages)
    return " | ".join(translator.translate([SAMPLE], language, Options(beam=1))[0].text for language in languages)


def scores(ours: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    """chrF (Popović 2015) and BLEU (Papineni 2002) of a corpus, as sacreBLEU computes them (Post 2018).

    Raises DataError when sacrebleu is not installed.
    """
    return {name: round(m.corpus_score(list(ours), [list(truth)]).score, 2) for name, m in metrics().items()}


def metrics() -> dict[str, Any]:
    """The two metrics of sacreBLEU, with its defaults. Raises DataError when it is not installed."""
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as e:
        raise DataError("chrF and BLEU need the package sacrebleu.", "pip install sacrebleu") from e
    return {"chrF": CHRF(), "BLEU": BLEU()}


def signatures() -> dict[str, str]:
    """By metric, how it is computed with one reference for each sentence, in sacreBLEU's own words."""
    chosen = metrics()
    for metric in chosen.values():
        metric.corpus_score(["x"], [["x"]])  # it knows the number of references once it has seen some
    return {name: str(metric.get_signature()) for name, metric in chosen.items()}


def measure(
    translate: Callable[[Sequence[str], str], Sequence[str]], pairs: Mapping[str, Sequence[Pair]]
) -> dict[str, Any]:
    """chrF and BLEU for each language, of all its pairs and by the length of the English sentence."""
    told: dict[str, Any] = {}
    for language, held_out in pairs.items():
        english, truth = [a for a, _ in held_out], [b for _, b in held_out]
        ours = translate(english, language)
        told[language] = scores(ours, truth) | {"sentences": len(truth), "by_words": {}}
        for first, beyond in zip(LENGTHS, (*LENGTHS[1:], math.inf), strict=True):
            chosen = [i for i, text in enumerate(english) if first <= len(text.split()) < beyond]
            if chosen:
                name = f"{first}-{beyond - 1}" if beyond < math.inf else f"{first}-"
                told[language]["by_words"][name] = scores([ours[i] for i in chosen], [truth[i] for i in chosen]) | {
                    "sentences": len(chosen)
                }
    return told


def by_search(translator: Translator, options: Options) -> Callable[[Sequence[str], str], Sequence[str]]:
    """How `measure` has a translator translate."""
    return lambda texts, to: [found.text for found in translator.translate(texts, to, options)]


def model_numbers(translator: Translator, valid: Mapping[str, Sequence[Pair]]) -> dict[str, Any]:
    """What is told of any model, beside its scores: how large it is, and bits per byte of the true translations."""
    return {
        "parameters": sum(p.numel() for p in translator.model.parameters()),
        "bits_per_byte": {
            n: round(held_out_bits(translator.model, translator.tokenizer, n, pairs), 4) for n, pairs in valid.items()
        },
    }


def evaluate_translator(
    translator: Translator, train: Mapping[str, Sequence[Pair]], valid: Mapping[str, Sequence[Pair]],
    baselines: Mapping[str, Translator] = MappingProxyType({}), options: Options = Options(),
) -> dict[str, Any]:  # fmt: skip
    """The model by beam and greedily, the dictionary learned from the training pairs, and other models by beam."""
    told_how = signatures()  # a missing package is told before the work
    dictionaries = {language: Dictionary.learn(train[language]) for language in valid}
    return {
        "model": measure(by_search(translator, options), valid),
        "greedy": measure(by_search(translator, Options(beam=1)), valid),
        "dictionary": measure(lambda texts, to: [dictionaries[to].translate(t) for t in texts], valid),
        "beam": options.beam, "length_penalty": options.length_penalty, "signatures": told_how,
        **model_numbers(translator, valid),
        "baselines": {
            name: {"scores": measure(by_search(other, options), valid), **model_numbers(other, valid)}
            for name, other in baselines.items()
        },
    }  # fmt: skip
