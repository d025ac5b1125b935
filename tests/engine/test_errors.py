"""The tree of errors."""

import inspect

import pytest

from engine import errors
from engine.errors import TfmError

CODES = {
    "UsageError": 2, "OutputError": 2, "ModelError": 3, "CheckpointError": 3, "TokenizerError": 3, "TemplateError": 3,
    "ContextOverflow": 4, "VerificationFailed": 5, "DataError": 6,
}  # fmt: skip


def classes() -> dict[str, type[TfmError]]:
    found = inspect.getmembers(errors, lambda c: inspect.isclass(c) and issubclass(c, TfmError))
    return {name: c for name, c in found if c is not TfmError}


def test_every_error_has_the_exit_code_of_the_design() -> None:
    """X4"""
    assert {name: c.exit_code for name, c in classes().items()} == CODES


def test_what_is_wrong_with_a_models_files_is_a_model_error() -> None:
    assert {n for n, c in classes().items() if issubclass(c, errors.ModelError)} == {
        "ModelError", "CheckpointError", "TokenizerError", "TemplateError",
    }  # fmt: skip


@pytest.mark.parametrize("kind", sorted(CODES))
def test_an_error_is_one_text_of_what_is_wrong_and_what_to_do(kind: str) -> None:
    error = classes()[kind]("The file x is empty.", "Fetch it again.")
    assert (error.message, error.hint) == ("The file x is empty.", "Fetch it again.")
    assert str(error) == "The file x is empty. Fetch it again."
    assert str(classes()[kind]("Alone.")) == "Alone."


def test_every_error_has_a_sentence_that_says_when_it_is_raised() -> None:
    for c in classes().values():
        assert c.__doc__ and c.__doc__.strip().endswith(".")
