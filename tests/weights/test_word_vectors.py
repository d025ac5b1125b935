"""Word vectors: both formats of word2vec and both of fastText are read, and bad files get one sentence."""

import gzip
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engine.errors import DataError
from weights.data.fasttext import MAGIC, _hash, read_fasttext
from weights.data.word_vectors import read_vectors

Vectors = Mapping[str, npt.NDArray[np.float32]]
WORDS = ("the", "naïve", "日本", "New York", "cat")


def some_vectors(width: int = 5) -> Vectors:
    rng = np.random.default_rng(0)
    return {word: rng.standard_normal(width).astype(np.float32) for word in WORDS}


def as_text(vectors: Vectors, ending: str = "\n") -> bytes:
    lines = [f"{len(vectors)} {len(next(iter(vectors.values())))}"]
    lines += [f"{word} " + " ".join(repr(float(x)) for x in v) for word, v in vectors.items()]
    return "".join(line + ending for line in lines).encode()


def as_binary(vectors: Vectors, between: bytes = b"\n") -> bytes:
    """As word2vec.c writes it, or (with nothing between) as Google's news vectors are."""
    head = f"{len(vectors)} {len(next(iter(vectors.values())))}\n".encode()
    return head + b"".join(w.encode() + b" " + v.astype("<f4").tobytes() + between for w, v in vectors.items())


def as_fasttext(
    words: Vectors, grams: npt.NDArray[np.float32], *, version: int = 12, longest: int = 3, quantised: bool = False,
    labels: int = 1,
) -> bytes:  # fmt: skip
    """A .bin of n-grams of `longest` (or none): the settings, the dictionary, and rows of words and of buckets."""
    width = grams.shape[1]
    settings = struct.pack("<i12id", version, width, 5, 5, 1, 5, 1, 1, 2, len(grams), longest, longest, 100, 1e-4)
    entries = [w.encode() + b"\0" + struct.pack("<qb", 7, 0) for w in words]
    entries += [f"__label__{i}".encode() + b"\0" + struct.pack("<qb", 7, 1) for i in range(labels)]
    dictionary = struct.pack("<iiiqq", len(entries), len(words), labels, 99, -1) + b"".join(entries)
    matrix = np.concatenate([np.stack(list(words.values())), grams]).astype("<f4")
    shape = struct.pack("<?qq", quantised, *matrix.shape)
    return MAGIC + settings + dictionary + shape + matrix.tobytes() + b"the output matrix"


FORMATS: dict[str, Callable[[Vectors], bytes]] = {
    "text": as_text, "text with spaces at line ends": lambda v: as_text(v, " \n"),
    "text of DOS": lambda v: as_text(v, "\r\n"),
    "binary": as_binary, "binary without ends": lambda v: as_binary(v, b""),
    "text, packed": lambda v: gzip.compress(as_text(v)), "binary, packed": lambda v: gzip.compress(as_binary(v)),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_the_wanted_words_come_with_their_vectors_and_no_others(form: str, tmp_path: Path) -> None:
    vectors, path = some_vectors(), tmp_path / "vectors"
    path.write_bytes(FORMATS[form](vectors))
    wanted = {w for w in WORDS if w != "cat" and not (w == "New York" and "binary" in form)} | {"absent"}
    found, width = read_vectors(path, wanted)
    assert (set(found), width) == (wanted - {"absent"}, 5)
    for word in found:
        assert np.array_equal(found[word], vectors[word])
    found["the"][0] = 1.0  # a copy that is ours


def test_of_a_word_that_stands_twice_the_first_counts(tmp_path: Path) -> None:
    (tmp_path / "v").write_text("2 2\ncat 1 2\ncat 3 4\n")
    assert read_vectors(tmp_path / "v", {"cat"})[0]["cat"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("version", [11, 12])
def test_a_fasttext_vector_is_the_mean_of_the_word_and_its_grams(version: int, tmp_path: Path) -> None:
    """The hashes were computed by gensim's implementation (4.4)."""
    words = {"cat": np.array([9.0, 0.0], np.float32), "a": np.array([5.0, 5.0], np.float32)}
    grams = np.arange(14, dtype=np.float32).reshape(7, 2)
    (tmp_path / "m.bin").write_bytes(as_fasttext(words, grams, version=version))
    found, width = read_vectors(tmp_path / "m.bin", {"cat", "a", "__label__0"})
    assert width == 2 and set(found) == {"cat", "a"}
    of_cat = [grams[_hash(g) % 7] for g in (b"<ca", b"cat", b"at>")]
    assert found["cat"].tolist() == pytest.approx(np.mean([words["cat"], *of_cat], 0).tolist())
    assert found["a"].tolist() == pytest.approx(((words["a"] + grams[_hash(b"<a>") % 7]) / 2).tolist())
    assert (
        _hash(b"<ca") == 1066916747 and _hash("<ét".encode()) == 1975908133 and _hash("<日本>".encode()) == 3315313759
    )


def test_a_fasttext_model_without_grams_gives_its_rows(tmp_path: Path) -> None:
    words = some_vectors()
    (tmp_path / "m.bin").write_bytes(as_fasttext(words, np.zeros((0, 5), np.float32), longest=0, labels=0))
    found, _ = read_vectors(tmp_path / "m.bin", set(WORDS))
    assert all(np.array_equal(found[w], words[w]) for w in WORDS)


GRAMS = np.zeros((3, 5), np.float32)
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "first line does not give their number and size"),
    "prose": (b"Once upon a time there was\n", "first line does not"),
    "glove": (b"the 0.1 0.2\nof 0.3 0.4\n", "A GloVe file lacks that line"),
    "no numbers": (b"3 0\n", "first line does not"),
    "a line short": (as_text(some_vectors()).rsplit(b"\n", 2)[0] + b"\n", "ends after 4 of 5 vectors"),
    "a number short": (b"2 3\nthe 1 2 3\nof 1 2\n", "line 3: a word and 3 numbers were expected"),
    "no number": (b"2 3\nof 1 2 3\nthe 1 2 x\n", "line 3: a number of the vector is none"),
    "not finite": (b"1 2\nthe 1 nan\n", "vector of word 1 holds a number that is not finite"),
    "binary, truncated": (as_binary(some_vectors())[:-5], "ends after 4 of 5 vectors"),
    "binary of nothing": (b"9 3\n" + b"x" * 9999, "neither word2vec's text nor its binary"),
    "packed, truncated": (gzip.compress(as_text(some_vectors()))[:-12], "cannot be read"),
    "fasttext, truncated": (as_fasttext(some_vectors(), GRAMS)[:-40], "is truncated"),
    "fasttext, cut in its words": (as_fasttext(some_vectors(), GRAMS)[:94], "a word has no end"),
    "fasttext, quantised": (as_fasttext(some_vectors(), GRAMS, quantised=True), "quantised"),
    "fasttext, of the future": (as_fasttext(some_vectors(), GRAMS, version=99), "version 99"),
    "fasttext, packed": (gzip.compress(as_fasttext(some_vectors(), GRAMS)), "gunzip"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_gets_one_sentence_that_names_it(kind: str, tmp_path: Path) -> None:
    data, says = BAD[kind]
    path = tmp_path / "vectors.bin"
    path.write_bytes(data)
    with pytest.raises(DataError, match=says) as caught:
        read_vectors(path, {"the"})
    assert str(path) in caught.value.message and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_a_folder_gets_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "no", tmp_path):
        with pytest.raises(DataError, match=str(path)):
            read_vectors(path, {"the"})


def test_a_matrix_that_does_not_fit_its_dictionary_is_refused(tmp_path: Path) -> None:
    data = bytearray(as_fasttext(some_vectors(), GRAMS))
    at = data.index(struct.pack("<qq", 8, 5))
    data[at : at + 16] = struct.pack("<qq", 8, 4)
    (tmp_path / "m.bin").write_bytes(data)
    with pytest.raises(DataError, match="matrix of 8 x 4"):
        read_fasttext(tmp_path / "m.bin", {"the"})
