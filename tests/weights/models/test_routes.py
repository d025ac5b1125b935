"""weights/models/routes.py, translate.py: other people's translators are asked as transformers asks them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import bart_directory, edit, generated, marian_directory, mbart_directory, t5_directory

from engine.errors import CheckpointError, TfmError, UsageError
from weights.models.hf_tokenizers import unsayable
from weights.models.translate import Options, Translator

TEXT = "The cat sleeps in the garden."
GREEDY = Options(beam=1)
TASKS = {
    "summarization": {"prefix": "summarize: "},
    "translation_en_to_fr": {"prefix": "translate English to French: ", "num_beams": 4, "max_length": 300},
    "translation_en_to_de": {"prefix": "translate English to German: "},
}


def same_as_theirs(
    translator: Translator, theirs: Any, to: str, source: list[int], begun: tuple[int, ...] = ()
) -> None:
    """Our greedy translation has the text of the tokens that transformers says after `source` and `begun`."""
    config = translator.model.config
    begun = begun or (config.bos_id,)
    never = [i for i in unsayable(translator.tokenizer, config.vocab_size) if i != config.eos_id]
    limit = min(config.max_positions - len(begun) + 1, 2 * len(source) + 16)
    said = generated(
        theirs, source, never, max_new_tokens=limit, decoder_input_ids=torch.tensor([begun]),
        decoder_start_token_id=begun[0],
    )  # fmt: skip
    assert tuple(said[: len(begun)]) == begun
    found = translator.translate([TEXT], to, GREEDY, source="en")[0]
    assert found.text == translator.tokenizer.decode([i for i in said[len(begun) :] if i != config.eos_id])
    assert found.n_tokens > 0


def test_marian_with_one_target_and_with_several(tmp_path: Path) -> None:
    theirs = marian_directory(tmp_path / "one", target_lang="fr")
    one = Translator.load(tmp_path / "one")
    assert one.languages == ("fr",)
    same_as_theirs(one, theirs, "fr", [*one.tokenizer.encode(TEXT), 0])
    theirs = marian_directory(tmp_path / "many", codes=(">>fra<<", ">>spa<<"))
    many = Translator.load(tmp_path / "many")
    assert many.languages == ("fra", "spa")
    same_as_theirs(many, theirs, "spa", [many.tokenizer.control_id(">>spa<<"), *many.tokenizer.encode(TEXT), 0])


def test_mbart_writes_the_source_language_last_and_begins_with_the_target(tmp_path: Path) -> None:
    theirs = mbart_directory(tmp_path, 25)
    translator = Translator.load(tmp_path)
    code = translator.tokenizer.control_id
    source = [*translator.tokenizer.encode(TEXT), 2, code("en_XX")]
    same_as_theirs(translator, theirs, "fr", source, (code("fr_XX"),))


def test_mbart_50_writes_the_source_language_first_and_is_forced_to_the_target(tmp_path: Path) -> None:
    theirs = mbart_directory(tmp_path, 52)
    translator = Translator.load(tmp_path)
    code = translator.tokenizer.control_id
    source = [code("en_XX"), *translator.tokenizer.encode(TEXT), 2]
    same_as_theirs(translator, theirs, "fr_XX", source, (2, code("fr_XX")))
    assert len(translator.languages) == 52
    with pytest.raises(UsageError, match=r"which language to translate from to fr_XX.*--from: .*en_XX"):
        translator.translate([TEXT], "fr_XX")
    with pytest.raises(UsageError, match="does not translate to fr_XX from 'xx'"):
        translator.translate([TEXT], "fr_XX", GREEDY, "xx")


def test_t5_reads_the_prefix_of_the_task(tmp_path: Path) -> None:
    theirs = t5_directory(tmp_path, task_specific_params=TASKS)
    translator = Translator.load(tmp_path)
    assert translator.languages == ("fr", "de")
    source = [*translator.tokenizer.encode("translate English to French: " + TEXT), 1]
    same_as_theirs(translator, theirs, "fr", source)
    assert translator.translate([" ", ""], "fr")[1].text == ""


def test_an_unknown_language_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    t5_directory(tmp_path, task_specific_params=TASKS)
    translator = Translator.load(tmp_path)
    with pytest.raises(UsageError, match=r"does not translate to 'it'\. It knows fr, de"):
        translator.check_language("it")
    with pytest.raises(UsageError, match="not said which language"):
        translator.check_language(None)


def test_beams_long_texts_and_empty_lines_work_as_with_our_own(tmp_path: Path) -> None:
    marian_directory(tmp_path, target_lang="fr")
    translator = Translator.load(tmp_path)
    texts = [TEXT, "", "A dog. " * 40]
    together = translator.translate(texts, "fr", Options(beam=2, alternatives=1))
    assert together[1].text == "" and together[2].n_parts == 40 and together[0].alternatives
    alone = translator.translate(texts[:1], "fr", Options(beam=2, alternatives=1))[0]
    assert alone.text == together[0].text


def no_languages(directory: Path) -> None:
    t5_directory(directory)


def a_bart(directory: Path) -> None:
    bart_directory(directory)


def no_target(directory: Path) -> None:
    marian_directory(directory)


def odd_tasks(directory: Path) -> None:
    t5_directory(directory, task_specific_params=["translation"])


def odd_setting(directory: Path) -> None:
    t5_directory(directory, task_specific_params={"translation_en_to_fr": {"diversity_penalty": 1.0}})


def odd_generation(directory: Path) -> None:
    marian_directory(directory, target_lang="fr")
    edit(directory, "generation_config.json", repetition_penalty=1.5)


def long_bad_word(directory: Path) -> None:
    marian_directory(directory, target_lang="fr")
    edit(directory, bad_words_ids=[[3, 4]])


def no_such_token(directory: Path) -> None:
    marian_directory(directory, target_lang="fr")
    edit(directory, forced_bos_token_id=9999)


def another(directory: Path) -> None:
    marian_directory(directory, target_lang="fr")
    edit(directory, architectures=["LlamaForCausalLM"])


@pytest.mark.parametrize(
    ("directory_of", "says"),
    [
        (no_languages, "T5ForConditionalGeneration that names no"), (no_target, "MarianMTModel that names no"),
        (a_bart, "Bart.*, which does not translate. `tfm summarize"), (odd_tasks, "task_specific_params is no table"),
        (odd_setting, "diversity_penalty = 1.0 is not supported"), (odd_generation, "repetition_penalty = 1.5"),
        (long_bad_word, "bad_words_ids"), (no_such_token, "token 9999"), (another, "LlamaForCausalLM.*not translate"),
    ],
)  # fmt: skip
def test_a_directory_that_cannot_translate_says_why(directory_of: Any, says: str, tmp_path: Path) -> None:
    directory_of(tmp_path)
    with pytest.raises(TfmError, match=says) as found:
        Translator.load(tmp_path)
    assert isinstance(found.value, CheckpointError)
