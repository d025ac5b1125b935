"""weights/evaluate/heads.py, relations.py, tokens.py, looks.py: what would be right to look at, and who does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chat import cli
from engine.errors import DataError
from weights.data.vocabulary import train_tokenizer
from weights.evaluate.heads import Looked, judge
from weights.evaluate.looks import encoder_study, sentences
from weights.evaluate.relations import CONVERSATION, SENTENCE, Links, Relation, joined, translated
from weights.evaluate.tokens import Tokens
from weights.models.config import EncoderConfig
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import load_encoder, save_encoder
from weights.models.fill import Filler
from weights.models.reading import CONTROLS

TALK = (
    "<s> <|system|> You ▁are ▁Ma rie . <|end|> <|user|> What ▁is ▁in ▁notes . txt ? <|end|> <|assistant|> I ▁am ▁Ma "
    "rie ; ▁see ▁notes . txt <|end|>"
)


def tokens(text: str) -> Tokens:
    """Pieces with spaces between; those in angle brackets are control tokens."""
    pieces = text.split()
    return Tokens(
        pieces, {p for p, piece in enumerate(pieces) if piece.startswith("<") and not piece.startswith("<0x")}
    )


def told(text: str, name: str) -> dict[str, str]:
    """The links of one relation, by the pieces with their positions."""
    read = tokens(text)
    links = joined((*SENTENCE, *CONVERSATION), read)[name]
    return {f"{read.pieces[q]}{q}": " ".join(f"{read.pieces[k]}{k}" for k in sorted(keys)) for q, keys in links.items()}


def test_words_and_turns_are_found_among_the_tokens() -> None:
    read = tokens("<s> Tom ▁didn ' t ▁see ▁caf <0xC3> <0xA9> . <0x0A> Why ? </s>")
    assert [(w.text, w.first, w.end) for w in read.words[:3]] == [("Tom", 1, 2), ("didn't", 2, 5), ("see", 5, 6)]
    assert (read.words[3].first, read.words[3].last) == (6, 8) and [len(s) for s in read.sentences] == [5, 2]
    talk = tokens(TALK)
    assert [(turn.role, turn.mark, turn.end) for turn in talk.turns] == [
        ("system", 1, 7), ("user", 8, 16), ("assistant", 17, 27)
    ]  # fmt: skip
    assert [w.text for w in tokens("[CLS] play ##ing ▁ĠĠx").words][-2:] == ["playing", "x"]


@pytest.mark.parametrize(
    ("name", "text", "links"),
    [
        ("pronoun to its owner", "I ▁lost ▁my ▁keys . ▁He ▁hurt ▁himself .", {"▁my2": "I0", "▁himself7": "▁He5"}),
        ("pronoun to its person", "Tom ▁said ▁he ▁saw ▁her ▁with ▁Mary .", {"▁he2": "Tom0", "▁her4": "▁Mary6"}),
        ("word to its repetition", "The ▁cat ▁saw ▁the ▁cat .", {"▁the3": "The0", "▁cat4": "▁cat1"}),
        ("word to the end mark", "No , ▁thanks . ▁Why ?", {"No0": ".3", "▁thanks2": ".3", "▁Why4": "?5"}),
        ("question mark to question word", "<s> Where ▁do ▁you ▁live ? </s>", {"?5": "Where1"}),
        ("question mark to question word", "<s> You ▁live . </s>", {}),
        ("auxiliary to its subject", "I ▁can ▁go . ▁Do ▁you ▁go ?", {"▁can1": "I0", "▁Do4": "▁you5"}),
        ("article to its noun", "a ▁very ▁old ▁house ▁and ▁some ▁of ▁it", {"a0": "▁house3"}),
        ("noun to its article", "a ▁very ▁old ▁hou se", {"se4": "a0"}),
        ("preposition to its noun", "We ▁live ▁in ▁a ▁big ▁house ▁with ▁him", {"▁in2": "▁house5", "▁with6": "▁him7"}),
        ("noun to its preposition", "in ▁the ▁house", {"▁house2": "in0"}),
        ("auxiliary to its verb", "Do ▁you ▁often ▁swim ? ▁I ▁can .", {"Do0": "▁swim3"}),
        ("verb to its auxiliary", "I ▁didn ' t ▁swim", {"▁swim4": "▁didn1 '2 t3"}),
        ("second half of a pair", "He ▁is ▁more ▁or ▁less ▁taller ▁than ▁me", {"▁than6": "▁taller5"}),
        ("preposition to its verb", "I ▁asked ▁Tom ▁for ▁it", {"▁for3": "▁asked1"}),
        ("any to its negation", "I ▁don ' t ▁see ▁anyone . ▁Any ▁more ?", {"▁anyone5": "▁don1 '2 t3"}),
        ("closing to opening mark", 'say ▁" hi " ▁( or ▁" x " )', {'"3': '▁"1', '"8': '▁"6', ")9": "▁(4"}),
        ("piece to the word's first piece", "un believ able ▁things 4 5", {"believ1": "un0", "able2": "un0"}),
        ("induction", "A ▁b ▁c ▁A ▁b", {"▁A3": "▁b1", "▁b4": "▁c2"}),
        ("token to its repetition", "A ▁b . ▁A .", {"▁A3": "A0"}),
        ("name from the system prompt", TALK, {"▁am19": "▁Ma4", "▁Ma20": "rie5"}),
        ("file name from the question", TALK, {"▁see23": "▁notes12", "▁notes24": ".13", ".25": "txt14"}),
        ("word from the question", TALK, {"▁see23": "▁notes12"}),
        ("answer's mark to the question word", TALK, {"<|assistant|>17": "What9"}),
    ],
)  # fmt: skip
def test_a_relation_says_what_is_right(name: str, text: str, links: dict[str, str]) -> None:
    assert told(text, name) == links


def test_every_token_of_a_turn_has_one_mark() -> None:
    links = told(TALK, "token to the mark of its turn")
    assert links["You2"] == "<|system|>1" and links["?15"] == "<|user|>8" and links["rie21"] == "<|assistant|>17"
    assert not any(name.startswith("<") for name in links)


def test_a_translation_links_what_is_written_to_what_it_translates() -> None:
    source, target = tokens("<|fr|> Tom ▁sees ▁a ▁cat . </s>"), tokens("<s> Tom ▁voit ▁un ▁cha t .")
    find = translated({"sees": "voit", "cat": "chat", "a": "un"})
    assert find(target, source) == {0: {1}, 1: {2}, 2: {3}, 3: {4}, 4: {4}}


FAR = Relation("far", "looks at 0", lambda read: {})


def at(text: str, best: Any, links: Links, sharp: float = 1.0) -> Looked:
    """A text whose heads give the share `sharp` to what they look at most."""
    given = sum(sharp * np.isin(best[:, :, q], list(keys)) for q, keys in links.items())
    return Looked(text, best, {"far": links}, {"far": np.float32(given)}, best.shape[-1])


def looked(count: int, right: int, sharp: float = 1.0) -> list[Looked]:
    """Texts of growing distance between the query, the last position, and position 0. Head 1 is right in each that
    is divisible by `right`, head 2 looks one token back, head 0 at itself."""
    texts = []
    for number in range(count):
        length = 3 + number % 7
        best = np.zeros((1, 3, length), np.int64)
        best[0, 0, -1], best[0, 2, -1] = length - 1, length - 2
        best[0, 1, -1] = 0 if number // 2 % right == 0 else 1
        links: Links = {length - 1: {0}}
        texts.append(at(str(number), best, links, sharp))
    return texts


def test_half_a_names_the_head_and_half_b_scores_it() -> None:
    (finding,) = judge(looked(210, 1), [FAR], is_causal=True)
    assert (finding.layer, finding.head, finding.score, finding.n) == (0, 1, 1.0, 105)
    assert (finding.low, finding.high) == (1.0, 1.0) and finding.holds
    assert finding.offset_score == pytest.approx(1 / 7) and finding.mean == pytest.approx(1 / 3)
    assert [e.text for e in finding.examples][:3] == ["1", "3", "5"]  # the other half


def test_a_head_that_looks_everywhere_alike_earns_no_name() -> None:
    (finding,) = judge(looked(210, 1, sharp=0.2), [FAR], is_causal=True)
    assert finding.score == 1.0 and finding.attention == pytest.approx(0.2) and not finding.holds
    assert finding.even == pytest.approx(np.mean([1 / (3 + n % 7) for n in range(1, 210, 2)]))


def test_a_head_that_is_seldom_right_earns_no_name() -> None:
    (finding,) = judge(looked(210, 3), [FAR], is_causal=True)
    assert finding.head == 1 and finding.score == pytest.approx(1 / 3, abs=0.01) and not finding.holds
    assert finding.low < finding.score < finding.high


def test_a_head_that_is_no_better_than_a_distance_earns_no_name() -> None:
    texts = [at(t.text, np.where(np.arange(3) == 2, 1, t.best[:, :, :3]), {2: {1}}) for t in looked(60, 1)]
    (finding,) = judge(texts, [FAR], is_causal=True)
    assert finding.score == finding.offset_score == 1.0 and finding.offset == -1 and not finding.holds


def test_what_is_rare_or_lies_ahead_of_a_decoder_is_not_judged() -> None:
    assert judge(looked(20, 1), [FAR], is_causal=True) == []
    ahead = [at(t.text, t.best, {0: {2}}) for t in looked(60, 1)]
    assert judge(ahead, [FAR], is_causal=True) == [] != judge(ahead, [FAR], is_causal=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("corpus")
    (where / "parallel").mkdir()
    rows = [f"The old cat sees {who} {n}.\tLe chat voit {who}.\n" for n in range(40) for who in ("Tom", "a dog")]
    (where / "parallel" / "en-fr.valid.tsv").write_text("".join(rows), encoding="utf-8")
    return where


@pytest.fixture(scope="module")
def masked(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("masked")
    train_tokenizer(sentences(corpus), 380, where / "t.model", threads=1, controls=CONTROLS)
    shape = {"n_heads": 2, "n_kv_heads": 2, "head_dim": 8, "d_ff": 24, "max_positions": 64}
    model = Encoder(EncoderConfig(380, 16, 2, **shape, cls_id=1, sep_id=2, pad_id=3, mask_id=4))  # type: ignore[arg-type]
    model.init_weights(torch.Generator().manual_seed(0))
    save_encoder(where / "m", model, where / "t.model", torch.float32)
    return where / "m"


def test_texts_of_one_length_are_read_together_as_they_are_alone(corpus: Path, masked: Path) -> None:
    read = encoder_study(Filler(*load_encoder(masked)), corpus)
    assert [looked.text for looked in read.texts] == sentences(corpus)  # in their order
    for looked_at in read.texts[::9]:
        weights = read.board(looked_at.text).weights.clone()
        weights[..., [0, -1]] = -1  # <s> and </s> are left out
        assert torch.equal(weights.argmax(-1), torch.from_numpy(looked_at.best))


def test_the_command_tells_the_best_heads(corpus: Path, masked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["inspect", "heads", "-m", str(masked), "--corpus", str(corpus)]
    assert cli.run_app(words) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("relation\tlayer\thead") and {len(row.split("\t")) for row in rows} == {11}
    assert cli.run_app([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["part"] == "encoder" and found["texts"] == 80
    assert [f["relation"] for f in found["heads"]] == [row.split("\t")[0] for row in rows]
    assert "word to the end mark" in [f["relation"] for f in found["heads"]]


def test_what_cannot_be_measured_is_one_sentence(
    corpus: Path, masked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inspect", "heads", "-m", str(masked), "--corpus"]
    assert cli.run_app([*words, str(tmp_path)]) == 6
    assert "lacks parallel/en-" in capsys.readouterr().err
    assert cli.run_app([*words, str(corpus), "--to", "fr"]) == 2
    assert "--to means nothing" in capsys.readouterr().err
    with pytest.raises(DataError):
        sentences(tmp_path)
