"""A masked language model from a recipe, as a user makes it: trained, resumed, tuned on pairs, filled, embedded."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from chat.cli import run_app
from engine.errors import DataError
from engine.tokenizer import SentencePieceTokenizer
from weights.classify import Task, classify, split
from weights.cli import main
from weights.data.masking import MaskedBatch, Masker, ordinary_ids
from weights.data.sentences import SentenceBatch, SentencePairs
from weights.evaluate.classes import scores
from weights.evaluate.encoder import pseudo_bits_per_byte
from weights.evaluate.sentences import retrieval, tf_idf
from weights.masked import initial_encoder
from weights.models.classifier import Labeller
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import load_encoder
from weights.models.fill import Filler
from weights.models.reading import Reader
from weights.objectives import TEMPERATURE, contrastive, info_nce, masked_lm
from weights.recipe import Stage, read_recipe
from weights.train.state import load_state

RECIPES = Path(__file__).parents[2] / "weights" / "recipes"
ANIMALS = {"cat": "naps", "dog": "runs", "cow": "eats", "bird": "sings"}  # a piece each
PLACES = ["sun", "park", "yard", "barn"]
RECIPE = """
name = "toy"
seed = 1
architecture = "TfmEncoder"
[tokenizer]
vocab_size = 420
[model]
d_model = 32
n_layers = 2
n_heads = 2
n_kv_heads = 2
head_dim = 16
d_ff = 48
max_positions = 96
[sources.lines]
format = "first"
files = ["pairs.tsv"]
valid = ["pairs.tsv"]
[sources.pairs]
format = "parallel"
files = ["pairs.tsv"]
valid = ["pairs.tsv"]
[[stage]]
name = "mlm"
objective = "mlm"
tokens = 60_000
row = 32
batch = 16
micro_batch = 16
optimizer = "muon"
lr = 0.02
warmup = 5
eval_every = 100
[stage.shares]
lines = 1
[[stage]]
name = "pairs"
objective = "contrastive"
tokens = 12_000
row = 32
batch = 8
micro_batch = 8
lr = 0.001
warmup = 5
eval_every = 100
[stage.shares]
pairs = 1
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a small corpus of pairs, and a recipe."""
    home = tmp_path_factory.mktemp("masked")
    rows = [f"The {a} {ANIMALS[a]} in the {p}.\tIn the {p} the {a} {ANIMALS[a]}." for a in ANIMALS for p in PLACES]
    (home / "pairs.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (home / "toy.toml").write_text(RECIPE, encoding="utf-8")
    return home


def train(place: Path, out: str, *more: str, changes: Sequence[str] = ()) -> int:
    sets = [part for change in changes for part in ("--set", change)]
    words = ["mlm", str(place / "toy.toml"), "--corpus", str(place), "--out", str(place / out), "--threads", "1"]
    return main([*words, "--no-compile", *sets, *more])


@pytest.fixture(scope="module")
def made(place: Path) -> Path:
    """The model directory that the recipe makes."""
    patch = pytest.MonkeyPatch()
    patch.setattr("weights.train.loop.fastest", lambda work: "float32")
    assert train(place, "out") == 0
    patch.undo()
    return place / "out" / "model"


def test_what_is_hidden_is_found_and_measured(made: Path) -> None:
    filler = Filler.load(made)
    for animal, verb in ANIMALS.items():
        ((best, *_),) = filler.fill(f"The {animal} [MASK] in the park.", 2)
        assert (best.filled, best.continues) == (f"The {animal} {verb} in the park.", False)
    both = filler.fill("The cat [MASK] in the <mask>.", 3)
    assert len(both) == 2 and both[0][0].text == "naps"
    assert both[1][0].filled.startswith("The cat naps in the ") and "MASK" not in both[1][0].filled
    rows = [json.loads(line) for line in (made.parent / "pairs" / "metrics.jsonl").read_text().splitlines()]
    told = [row for row in rows if "retrieval" in row][-1]
    assert told["retrieval"]["recall@1"] > 0.9
    assert set(told["masked_accuracy"]) == {"lines", "pairs"}


def test_a_mask_alone_gives_the_distribution_of_the_naive_pass(made: Path) -> None:
    filler = Filler.load(made)
    ids = filler.reader.masked_ids("The dog [MASK].")
    place = ids.index(filler.model.config.mask_id)
    logits = filler.model(torch.tensor([ids]))[0, place]
    allowed = [i for i in range(420) if not filler.tokenizer.is_control(i) and i != 0]
    expected = logits[allowed].softmax(-1)
    torch.testing.assert_close(filler.probs(ids, place)[allowed], expected, atol=1e-6, rtol=0)
    (guesses,) = filler.fill("The dog [MASK].", 3)
    assert [g.probability for g in guesses] == pytest.approx(expected.topk(3).values.tolist(), abs=1e-6)


def test_a_run_that_was_cut_goes_on_to_the_very_same_numbers(place: Path) -> None:
    changes = ["stage.mlm.tokens=4000", "stage.pairs.tokens=2000", "stage.pairs.dropout=0.1"]
    assert train(place, "whole", changes=changes) == 0
    assert train(place, "cut", "--stop-after", "3", changes=changes) == 0
    assert train(place, "cut", "--stop-after", "4", changes=changes) == 0
    assert train(place, "cut", changes=changes) == 0
    for stage in ("mlm", "pairs"):
        states = [load_state(place / out / stage) for out in ("whole", "cut")]
        assert states[0] is not None and states[1] is not None and states[0]["done"] and states[1]["done"]
        for name, value in states[0]["model"].items():
            assert torch.equal(value, states[1]["model"][name]), (stage, name)


def test_one_batch_is_learned_by_heart(made: Path, place: Path) -> None:
    _, tokenizer = load_encoder(made)
    model = initial_encoder(read_recipe(place / "toy.toml"), tokenizer)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, 420, (4, 20), generator=generator)
    chosen = torch.stack([torch.randperm(20, generator=generator)[:3] for _ in range(4)])
    targets = ids.gather(1, chosen)
    targets[0, 2] = -1  # a row with fewer
    batch = MaskedBatch(ids.scatter(1, chosen, model.config.mask_id), torch.zeros_like(ids), chosen, targets)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        loss = masked_lm(model, batch) / batch.n_targets
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(420), abs=0.3) and losses[-1] < 0.05


def test_only_chosen_positions_count(made: Path) -> None:
    model, _ = load_encoder(made)
    ids = torch.randint(10, 420, (2, 12), generator=torch.Generator().manual_seed(1))
    chosen, targets = torch.tensor([[3, 7], [5, 0]]), torch.tensor([[20, 21], [22, -1]])
    found = masked_lm(model, MaskedBatch(ids, torch.zeros_like(ids), chosen, targets))
    logits = model.logits(model.hidden(ids, documents=torch.zeros_like(ids)))
    expected = -sum(logits[r, c].log_softmax(-1)[t] for r, c, t in [(0, 3, 20), (0, 7, 21), (1, 5, 22)])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_contrastive_loss_is_its_formula(made: Path) -> None:
    model, tokenizer = load_encoder(made)
    reader = Reader(tokenizer, model.config)
    texts = ["The cat naps.", "A cat.", "The dog runs.", "In the barn.", "A bird", "The yard"]
    ids = reader.pad([reader.ids(t) for t in texts])
    vectors = []
    for text in texts:
        row = torch.tensor([reader.ids(text)])
        mean = model.hidden(row)[0].mean(0)
        vectors.append(mean / mean.norm())
    firsts, seconds = torch.stack(vectors[0::2]), torch.stack(vectors[1::2])
    expected = 0.0
    for i in range(3):
        there = [math.exp(float(firsts[i] @ seconds[j]) / TEMPERATURE) for j in range(3)]
        back = [math.exp(float(firsts[j] @ seconds[i]) / TEMPERATURE) for j in range(3)]
        expected -= 0.5 * (math.log(there[i] / sum(there)) + math.log(back[i] / sum(back)))
    assert float(info_nce(model, ids)) == pytest.approx(expected, abs=1e-3)


def test_pairs_come_once_in_each_pass_and_are_a_function_of_the_row(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(objective="contrastive", row=8, batch=4, micro_batch=4, tokens=8 * 4 * 6)
    ids = torch.arange(12 * 2 * 4).view(12, 2, 4)
    masker = Masker(np.arange(5, 96), 4, 1)
    rows = SentencePairs(stage, ids, 3, masker)
    assert rows.n_steps == 6
    first = torch.cat([rows.batch(4 * step, 4).ids for step in range(3)])
    assert sorted(first[::2, 0].tolist()) == ids[:, 0, 0].tolist()  # every pair, and its second after it
    assert torch.equal(first[1::2], first[::2] + 4)
    assert torch.equal(rows.batch(5, 3).ids, SentencePairs(stage, ids, 3, masker).batch(4, 4).ids[2:])


def test_tuning_on_pairs_goes_on_with_masks(made: Path) -> None:
    model, tokenizer = load_encoder(made)
    reader, masker = Reader(tokenizer, model.config), Masker(ordinary_ids(tokenizer), model.config.mask_id, 1)
    ids = reader.pad([reader.ids(t) for t in ("The cat naps in the yard.", "The cow eats.")])
    masked = masker.apply(ids, -(ids == model.config.pad_id).long(), 0)
    batch = SentenceBatch(ids, masked.ids, masked.documents, masked.chosen, masked.targets)
    assert masked.n_targets > 1 and (masked.documents[1] == -1).any()
    expected = info_nce(model, ids) + masked_lm(model, masked) / masked.n_targets  # of one pair
    torch.testing.assert_close(contrastive(model, batch), expected)


def test_retrieval_counts_ranks_and_ties_against_itself() -> None:
    pairs = [("a", "x"), ("b", "y"), ("c", "x")]
    firsts = functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 1.0]]), dim=1)
    seconds = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    told = retrieval(pairs, firsts, seconds)  # ranks 1, 2, and 2 for the tie
    assert told["recall@1"] == pytest.approx(1 / 3) and told["mrr"] == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_tf_idf_finds_the_rare_words() -> None:
    pairs = [("the red fox", "a fox that is red"), ("the blue whale", "whale of the blue"), ("the a of", "that is it")]
    assert retrieval(pairs[:2], *(v[:2] for v in tf_idf(pairs)))["recall@1"] == 1.0


def test_the_evaluation_writes_a_card_with_its_numbers(
    made: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ["--recipe", str(place / "toy.toml"), "--baseline", str(made)]
    assert main(["-m", str(made), "--corpus", str(place), "--json", "--card", *recipe], "eval") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["masked"]["lines"]["top1"] > 0.5 and told["masked"]["lines"]["top5"] >= told["masked"]["lines"]["top1"]
    assert set(told["retrieval"]) == {"this model, mean", "model, mean", "TF-IDF of words"}
    assert told["retrieval"]["this model, mean"]["mrr"] == told["retrieval"]["model, mean"]["mrr"]
    assert len(told["fills"]) == 30
    card = (made / "README.md").read_text()
    assert f"{told['masked']['lines']['top1']:.1%}" in card and "`[MASK]`" in card and "| mlm |" in card


def test_pseudo_bits_are_those_of_each_token_hidden_alone(made: Path) -> None:
    model, tokenizer = load_encoder(made)
    text = "The cat naps."
    ids = Reader(tokenizer, model.config).ids(text)
    bits = 0.0
    for place in range(1, len(ids) - 1):
        hidden = torch.tensor([[*ids[:place], model.config.mask_id, *ids[place + 1 :]]])
        bits -= model(hidden)[0, place].log_softmax(-1)[ids[place]].item() / math.log(2)
    assert pseudo_bits_per_byte(model, tokenizer, [text]) == pytest.approx(bits / len(text), abs=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("stage.mlm.objective=lm", "cannot learn 'lm'"), ("architecture=LlamaForCausalLM", "cannot learn 'mlm'"),
        ("architecture=TfmNothing", "architecture"), ("stage.mlm.objective=classify", "cannot learn"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_used_names_the_key(place: Path, change: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_recipe(place / "toy.toml", (change,))


def test_the_shipped_recipe_stays_within_twelve_megabytes(tokenizer: SentencePieceTokenizer) -> None:
    from weights.models.config import EncoderConfig

    recipe = read_recipe(RECIPES / "masked-lm.toml")
    shape = {name: getattr(recipe.model, name) for name in ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_ff")}
    model = Encoder(EncoderConfig(recipe.tokenizer.vocab_size, **shape, head_dim=recipe.model.head_dim))
    assert 2 * sum(p.numel() for p in model.parameters()) < 11.5e6  # the tokenizer takes the rest


def test_the_fill_command_answers_the_other_lines(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "lines.txt"
    long = "The cat naps. " * 40
    lines.write_text(f"The cat [MASK] in the yard.\n\nNo mask here.\n{long}[MASK]\nThe dog [MASK] in the sun.\n")
    assert run_app(["fill", "-f", str(lines), "--top", "2", "-m", str(made)]) == 2
    told = capsys.readouterr()
    rows = [line.split("\t") for line in told.out.splitlines()]
    assert len(rows) == 5 and [rows[0][1], rows[3][1]] == ["naps", "runs"]
    assert rows[2] == [""]  # of the empty line
    assert rows[0][2] == "The cat naps in the yard." and float(rows[0][0]) > float(rows[1][0])
    errors = told.err.splitlines()
    assert len(errors) == 2 and "Line 3" in errors[0] and "[MASK]" in errors[0] and "at most 96" in errors[1]


def test_fill_as_json(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["fill", "The cow [MASK] in the yard.", "--json", "-m", str(made)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["text"] == "The cow [MASK] in the yard." and len(told["masks"]) == 1
    assert told["masks"][0][0]["filled"] == "The cow eats in the yard." and len(told["masks"][0]) == 5


@pytest.mark.parametrize("command", ["fill", "embed"])
def test_an_empty_line_stays_where_it_is(
    command: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["The cat [MASK] in the yard.", "", "  ", "The dog [MASK] in the sun.", ""]
    (tmp_path / "lines.txt").write_text("\n".join(texts) + "\n")
    words = [command, "-m", str(made), *(["--top", "1"] if command == "fill" else [])]
    assert run_app([*words, "-f", str(tmp_path / "lines.txt")]) == 0
    told = capsys.readouterr()
    rows = told.out.split("\n")
    assert [bool(row) for row in rows] == [True, False, False, True, False, False] and not told.err
    assert run_app([*words, *texts]) == 0  # each argument is a line
    assert capsys.readouterr().out.split("\n") == rows
    assert run_app([*words, *texts, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["text"] for record in records] == texts
    assert records[1] == records[4] == {"text": ""} and len(records[3]) == 2


def test_embed_ranks_lines_by_their_cosine(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["The dog runs in the barn.", "In the yard the cow eats.", "The bird sings in the sun."]
    assert run_app(["embed", *lines, "", "--similar", "The cow eats in the yard.", "-m", str(made)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0][1] == lines[1] and sorted(row[1] for row in rows) == sorted(lines)
    assert [float(row[0]) for row in rows] == sorted((float(row[0]) for row in rows), reverse=True)
    assert run_app(["embed", *lines, "--json", "--pooling", "cls", "-m", str(made)]) == 0
    vectors = [json.loads(line)["vector"] for line in capsys.readouterr().out.splitlines()]
    assert [math.hypot(*v) for v in vectors] == pytest.approx([1.0] * 3, abs=1e-4) and len(vectors[0]) == 32


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fill", "a [MASK]", "--top", "0"], 2, "--top"), (["embed", "a", "--pooling", "max"], 2, "mean or cls"),
        (["classify", "a"], 2, "-m"), (["classify", "a", "-m", "MADE"], 3, "names no classes"),
        (["fill", "a [MASK]", "-m", "nowhere"], 3, "nowhere"), (["fill", "a [MASK]", "-f", "nofile"], 2, "nofile"),
    ],
)  # fmt: skip
def test_bad_calls_are_one_sentence(
    words: list[str], code: int, said: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(made) if word == "MADE" else word for word in words]
    model = [] if "-m" in given or words[0] == "classify" else ["-m", str(made)]
    assert run_app([*given, *model]) == code
    told = capsys.readouterr()
    assert told.out == "" and said in told.err and len(told.err.splitlines()) == 1


def labelled(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    path.write_text("".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")
    return path


def test_a_classifier_learns_what_can_be_told_apart(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pets = ("cat", "dog")
    rows = [("yes" if a in pets else "no", f"The {a} {ANIMALS[a]} in the {p}.") for a in ANIMALS for p in PLACES]
    data = labelled(tmp_path / "train.tsv", rows * 4)
    valid = labelled(tmp_path / "valid.tsv", [(label, text.replace("The", "A")) for label, text in rows])
    words = ["classify", str(data), "--base", str(made), "--out", str(tmp_path / "out"), "--valid", str(valid)]
    assert main([*words, "--epochs", "6", "--batch", "8", "--lr", "0.01", "--threads", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["accuracy"] == 1.0 == told["f1"]["yes"] and told["most_frequent"]["accuracy"] == 0.5
    assert told["confusion"] == {"no": {"no": 8, "yes": 0}, "yes": {"no": 0, "yes": 8}}
    assert run_app(["classify", "A dog runs in the yard.", "-m", str(tmp_path / "out")]) == 0
    label, probability, text = capsys.readouterr().out.strip().split("\t")
    assert label == "yes" and float(probability) > 0.5 and text == "A dog runs in the yard."
    assert sum(Labeller.load(tmp_path / "out").probs(["The cow"])[0].values()) == pytest.approx(1.0)


def test_a_file_of_one_class_is_refused(made: Path, tmp_path: Path) -> None:
    data = labelled(tmp_path / "one.tsv", [("yes", "a"), ("yes", "b")])
    with pytest.raises(DataError, match="one class, 'yes'") as error:
        classify(Task(made, data, tmp_path / "out"))
    assert error.value.exit_code == 6


def test_a_bad_line_stops_or_is_left_out_and_a_tenth_is_held_out(made: Path, tmp_path: Path) -> None:
    rows = [(label, f"{label} {i}") for label in ("yes", "no") for i in range(10)]
    data = labelled(tmp_path / "rows.tsv", rows)
    learned, held_out = split(Task(made, data, tmp_path / "out"))
    assert (len(learned), len(held_out)) == (18, 2) and not set(learned) & set(held_out)
    data.write_text(data.read_text() + "no tab here\n")
    with pytest.raises(DataError, match="line 21"):
        split(Task(made, data, tmp_path / "out"))
    assert len(split(Task(made, data, tmp_path / "out", skip_bad_lines=True))[0]) == 18


def test_scores_of_classes_are_their_definitions() -> None:
    told = scores(["a", "b", "c"], list("aaabbc"), list("aabbca"))
    assert told["accuracy"] == pytest.approx(3 / 6) and told["most_frequent"] == {"label": "a", "accuracy": 0.5}
    assert told["f1"]["a"] == pytest.approx(2 * 2 / (3 + 3)) and told["f1"]["c"] == 0.0
    assert told["confusion"]["a"] == {"a": 2, "b": 1, "c": 0}
