"""`tfm eval` of a masked language model: measure it beside baselines, tell the numbers, write its card."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from engine.tokenizer import SentencePieceTokenizer
from weights.data.pairs import Pair
from weights.data.readers import Report
from weights.evaluate.encoder_card import render_card
from weights.evaluate.history import FILE, training
from weights.evaluate.masked import masked_scores
from weights.evaluate.records import beginning, beginnings, require_files
from weights.evaluate.sentences import embedded, retrieval, tf_idf
from weights.masked import pairs_of, passages
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import load_encoder
from weights.models.fill import Filler
from weights.models.reading import Reader, bundles
from weights.recipe import Recipe
from weights.workshop import say, tell_bad_lines

SIZE = 150_000  # bytes of each source whose tokens are hidden by fifteen in a hundred
ONE_BY_ONE = 6_000  # bytes of each source whose tokens are hidden one at a time
LINES = Path(__file__).with_name("fills.txt")


@dataclass(frozen=True)
class Request:
    """What was asked for. baselines: other encoders, beside which it retrieves."""

    model: Path
    corpus: Path
    recipe: Recipe
    as_json: bool = False
    card: bool = False
    baselines: tuple[Path, ...] = ()
    threads: int | None = None


def run(request: Request) -> dict[str, Any]:
    """Measure, write, and tell the numbers on stdout; they are also returned.

    Raises DataError for a corpus that lacks files, and CheckpointError for a model, before anything is measured.
    """
    if request.threads:
        torch.set_num_threads(request.threads)
    require_files(request.corpus, (file for s in request.recipe.sources.values() for file in s.valid))
    model, tokenizer = load_encoder(request.model)
    others = {path.name: load_encoder(path) for path in request.baselines}
    numbers = measure(request, model, tokenizer)
    pairs = _pairs(request)
    if pairs:
        say("retrieving among held-out pairs ...")
        ways = {"this model, mean": embedded(model, tokenizer, pairs)}
        ways |= {f"{name}, mean": embedded(*other, pairs) for name, other in others.items()}
        numbers["retrieval"] = {name: retrieval(pairs, *vectors) for name, vectors in ways.items()}
        numbers["retrieval"]["TF-IDF of words"] = retrieval(pairs, *tf_idf(pairs))
        numbers["pairs"] = len(pairs)
    history = training(request.model)
    card = render_card(request.recipe, numbers, history)
    if request.card:
        if history:
            (request.model / FILE).write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
        (request.model / "README.md").write_text(card, encoding="utf-8")
    print(json.dumps(numbers, indent=1) if request.as_json else card)
    return numbers


def measure(request: Request, model: Encoder, tokenizer: SentencePieceTokenizer) -> dict[str, Any]:
    """The numbers of one model but for retrieval, ready for JSON."""
    say("hiding tokens of held-out text ...")
    report = Report()
    found = beginnings(request.recipe, request.corpus, SIZE, report)
    tell_bad_lines(report)
    held_out = {name: passages(records) for name, records in found.items()}
    few = {name: passages(beginning(records, ONE_BY_ONE)) for name, records in found.items()}
    filler = Filler(model, tokenizer)
    lines = LINES.read_text(encoding="utf-8").splitlines()
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "megabytes": round(sum(f.stat().st_size for f in request.model.iterdir() if f.is_file()) / 1e6, 1),
        "config": asdict(model.config),
        "masked": {name: asdict(masked_scores(model, tokenizer, texts)) for name, texts in held_out.items()},
        "pseudo_bits_per_byte": {name: pseudo_bits_per_byte(model, tokenizer, texts) for name, texts in few.items()},
        "bytes": {"masked": SIZE, "one_by_one": ONE_BY_ONE},
        "fills": [
            {"line": line, "guesses": [[g.shown, round(g.probability, 4)] for g in filler.fill(line, 3)[0]]}
            for line in lines
        ],
    }


@torch.no_grad()
def pseudo_bits_per_byte(model: Encoder, tokenizer: SentencePieceTokenizer, texts: Sequence[str]) -> float:
    """Bits for each token, hidden alone with all others seen, summed, and divided by UTF-8 bytes (Salazar 2020).

    No compression: each token is told from both sides. Two to its power is the pseudo-perplexity per byte.
    """
    reader = Reader(tokenizer, model.config)
    bits, size = 0.0, 0
    for text in texts:
        ids = reader.cut(text)
        size += len(tokenizer.decode(ids).encode())
        rows = [[*ids[:place], model.config.mask_id, *ids[place + 1 :]] for place in range(1, len(ids) - 1)]
        for bundle in bundles(rows):
            states = model.hidden(torch.tensor([rows[i] for i in bundle]))
            places = torch.tensor(bundle) + 1
            logprobs = model.logits(states[torch.arange(len(bundle)), places]).float().log_softmax(-1)
            bits -= float(logprobs.gather(1, torch.tensor(ids)[places].unsqueeze(1)).sum()) / math.log(2)
    return bits / max(1, size)


def _pairs(request: Request) -> list[Pair]:
    """The held-out pairs of the recipe's contrastive stages."""
    names = {name for stage in request.recipe.stages if stage.objective == "contrastive" for name in stage.shares}
    files: Mapping[str, Sequence[str]] = {name: request.recipe.sources[name].valid for name in names}
    report = Report()
    found = [pair for name in sorted(files) for pair in pairs_of(request.corpus, files[name], report)]
    tell_bad_lines(report)
    return found
