"""weights/models/translate.py and checkpoint.py: texts in parts, bad input, and directories that load again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import nudged, toy_model

from engine.errors import CheckpointError, TokenizerError, UsageError
from engine.params import SamplingParams
from engine.tokenizer import SentencePieceTokenizer
from weights.data.pairs import controls
from weights.data.vocabulary import train_tokenizer
from weights.models import translate
from weights.models.checkpoint import load_translator, save_translator
from weights.models.dictionary import Dictionary
from weights.models.translate import CLAUSE_END, SENTENCE_END, WORD_END, Options, Translator

TEXTS = ["The cat sleeps in the garden.", "Le chat dort dans le jardin.", "El gato duerme en el jardín."] * 4


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    path = tmp_path_factory.mktemp("pieces") / "tokenizer.model"
    train_tokenizer(TEXTS, 380, path, threads=1, controls=controls(("fr", "es")))
    return SentencePieceTokenizer(path)


@pytest.fixture(params=["transformer", "lstm"])
def translator(request: pytest.FixtureRequest, pieces: SentencePieceTokenizer) -> Translator:
    shape: dict[str, Any] = {"attention": "dot"} if request.param == "lstm" else {"max_positions": 96}
    model = nudged(toy_model(vocab_size=pieces.vocab_size, **shape))
    return Translator.of(model, pieces, ("fr", "es"))


def test_the_control_pieces_are_those_of_the_languages(pieces: SentencePieceTokenizer) -> None:
    assert [pieces.piece(i) for i in range(6)] == ["<unk>", "<s>", "</s>", "<pad>", "<|fr|>", "<|es|>"]
    assert 4 not in pieces.encode("<|fr|> is text here")


def test_a_line_is_translated_in_a_batch_as_it_is_alone(translator: Translator) -> None:
    texts = ["The cat sleeps.", "", "A dog.", "The garden of the cat is the garden of a dog, and no other one is."]
    together = translator.translate(texts, "fr", Options(beam=2))
    assert together[1].text == ""
    for text, found in zip(texts, together, strict=True):
        alone = translator.translate([text], "fr", Options(beam=2))[0]
        assert alone.text == found.text
        assert alone.logprob == pytest.approx(found.logprob, abs=1e-3)
    assert translator.translate(texts[:1], "es", Options(beam=2)) != together[:1]  # the language is heard


def test_alternatives_differ_and_fall_in_score(translator: Translator) -> None:
    found = translator.translate(["The cat sleeps."], "fr", Options(beam=2, alternatives=3, length_penalty=0.0))[0]
    texts = [found.text, *(text for text, _ in found.alternatives)]
    logprobs = [found.logprob, *(logprob for _, logprob in found.alternatives)]
    assert len(texts) == len(set(texts)) > 1
    assert logprobs == sorted(logprobs, reverse=True)


def test_a_seed_draws_the_same_again_and_another_draws_otherwise(translator: Translator) -> None:
    def drawn(seed: int) -> str:
        options = Options(sampling=SamplingParams(max_new_tokens=12), seed=seed)
        return translator.translate(["The cat sleeps."], "fr", options)[0].text

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize(
    "text", ["猫が寝ている。", "\ud800 x", "a\u2581b", "  two  spaces ", "one\n\ntwo\n", "🦊" * 40]
)
def test_any_text_is_translated(translator: Translator, text: str) -> None:
    assert isinstance(translator.translate([text], "es", Options(beam=1))[0].text, str)


def split(text: str, monkeypatch: pytest.MonkeyPatch, most: int) -> list[tuple[str, str]]:
    monkeypatch.setattr(translate, "PART_TOKENS", most)
    return list(translate._split(text, lambda part: len(part.split()), (SENTENCE_END, CLAUSE_END, WORD_END)))


def test_a_long_text_is_cut_at_sentences_then_clauses_then_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'One two. "Three four?" Five six, seven eight nine: ten. A b c d e f g'
    assert split(text, monkeypatch, 4) == [
        ("One two.", " "), ('"Three four?"', " "), ("Five six,", " "), ("seven eight nine:", " "), ("ten.", " "),
        ("A b c d", " "), ("e f g", ""),
    ]  # fmt: skip
    assert split(text, monkeypatch, 100) == [(text, "")]


@pytest.mark.parametrize("most", [1, 2, 3, 5, 50])
def test_the_parts_and_the_spaces_between_them_are_the_text(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (
        "",
        " ",
        "a",
        "a. b",
        "One.  Two!\nThree, four   five; six\n\n\nseven.",
        "x " * 30,
        "no.space.here " * 5,
    ):
        parts = split(text, monkeypatch, most)
        assert "".join(part + after for part, after in parts) == text
        assert all(len(part.split()) <= most for part, _ in parts)


def test_a_long_text_has_more_tokens_than_the_model_has_positions(translator: Translator) -> None:
    found = translator.translate(["The cat sleeps in the garden. " * 20], "fr", Options(beam=1))[0]
    assert found.n_parts == 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beam": 0}, "--beam"), ({"alternatives": -1}, "--alternatives"),
        ({"length_penalty": -1.0}, "--length-penalty"),
        ({"alternatives": 1, "sampling": SamplingParams()}, "--alternatives"),
    ],
)  # fmt: skip
def test_options_without_a_meaning_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Options(**options)


def test_an_unknown_language_is_named_with_those_that_are_known(translator: Translator) -> None:
    with pytest.raises(UsageError, match=r"'de'.*fr, es"):
        translator.translate(["x"], "de")


def test_what_is_saved_is_what_loads(translator: Translator, tmp_path: Path) -> None:
    save_translator(tmp_path / "m", translator.model, translator.tokenizer.path, ("fr", "es"), dtype=torch.float32)
    loaded = Translator.load(tmp_path / "m")
    assert loaded.model.config == translator.model.config
    assert loaded.translate(["The cat."], "fr") == translator.translate(["The cat."], "fr")
    save_translator(tmp_path / "m", translator.model, translator.tokenizer.path, ("fr", "es"))
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.bfloat16}
    for name, parameter in load_translator(tmp_path / "m")[0].named_parameters():
        torch.testing.assert_close(parameter, stored[name].float())


def damaged(directory: Path, what: str) -> None:
    config = json.loads((directory / "config.json").read_text())
    weights = load_file(directory / "model.safetensors")
    if what == "architecture":
        config["architectures"] = ["LlamaForCausalLM"]
    elif what == "key":
        config["surprise"] = 1
    elif what == "languages":
        del config["languages"]
    elif what == "vocabulary":
        config["vocab_size"] -= 1
    elif what == "missing":
        weights.pop("embedding.weight")
    elif what == "spare":
        weights["more"] = torch.zeros(1)
    elif what == "shape":
        weights["embedding.weight"] = weights["embedding.weight"][:, 1:].contiguous()
    (directory / "config.json").write_text(json.dumps(config))
    save_file(weights, directory / "model.safetensors")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("architecture", "LlamaForCausalLM, which does not translate"), ("key", "'surprise' is not known"),
        ("languages", "names no languages"), ("vocabulary", "pieces"), ("missing", "embedding.weight is missing"),
        ("spare", "more has no place"), ("shape", "has the shape"),
    ],
)  # fmt: skip
def test_a_directory_that_cannot_be_used_says_why(translator: Translator, tmp_path: Path, what: str, said: str) -> None:
    save_translator(tmp_path / "m", translator.model, translator.tokenizer.path, ("fr", "es"))
    damaged(tmp_path / "m", what)
    with pytest.raises(CheckpointError, match=said):
        load_translator(tmp_path / "m")


def test_a_tokenizer_without_the_language_is_refused(translator: Translator) -> None:
    with pytest.raises(TokenizerError, match=r"<\|de\|>"):
        Translator.of(translator.model, translator.tokenizer, ("de",))


def test_the_dictionary_learns_which_word_stands_for_which() -> None:
    nouns = {"cat": "chat", "dog": "chien", "house": "maison", "tree": "arbre"}
    verbs = {"sleeps": "dort", "falls": "tombe", "burns": "brûle"}
    pairs = [(f"The {n} {v}.", f"Le {nouns[n]} {verbs[v]}.") for n in nouns for v in verbs]
    pairs += [(f"{n} and {m}.", f"{nouns[n]} et {nouns[m]}.") for n in nouns for m in nouns]
    dictionary = Dictionary.learn(pairs)
    assert {w: dictionary.entries[w] for w in (*nouns, *verbs)} == nouns | verbs
    assert dictionary.translate("The dog falls, and the fox burns.") == "Le chien tombe, et le fox brûle."
