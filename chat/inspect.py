"""`tfm inspect experts`: which expert takes which token, of a text token by token, of files by share."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chat import models
from chat.inspect_mixture import Mixture, open_mixture
from chat.loading import read_text
from chat.render import safe_text
from chat.screen import Screen
from chat.settings import Settings
from engine.errors import UsageError

TYPICAL = 8  # tokens that are named for an expert
COLOURS = (39, 208, 70, 205, 178, 99, 44, 203, 113, 141, 220, 67, 167, 36, 180, 246)  # of 256; then they come again


@dataclass(frozen=True)
class Request:
    """What one call asks for: a text, or files. to: the language that a translator is asked for."""

    text: Sequence[str] = ()
    files: Sequence[str] = ()
    model: str = models.DEFAULT
    json: bool = False
    to: str | None = None


@dataclass(frozen=True)
class Routes:
    """The tokens of a text and, layer by layer, the experts that take each, the best first."""

    ids: list[int]
    layers: dict[int, list[list[int]]]


def inspect_experts(request: Request, settings: Settings, screen: Screen | None = None) -> int:
    """Tell which experts take the tokens of a text or of files; returns the exit code.

    Raises ModelError for a model without experts, UsageError for no text, for a text beside files, or for a language
    that does not fit the model.
    """
    screen = screen or Screen(plain=settings["plain"])
    if bool(request.text) == bool(request.files):
        raise UsageError("inspect experts wants a text, or files with -f, and not both.")
    text = " ".join(request.text) or "\n".join(read_text(name) for name in request.files)
    mixture = open_mixture(models.resolve(request.model), request.to, settings, screen)
    routes = routes_of(mixture, text)
    if request.files:
        told = shares(mixture, routes)
        lines = [json.dumps(told)] if request.json else _share_lines(told)
    elif request.json:
        pieces = [_shown(mixture, token) for token in routes.ids]
        lines = [json.dumps({"tokens": pieces, "ids": routes.ids, "layers": routes.layers})]
    else:
        coloured = screen.coloured and screen.out.isatty()
        lines = _coloured_lines(mixture, routes) if coloured else _plain_lines(mixture, routes)
    for line in lines:
        screen.write(line + "\n")
    return 0


def routes_of(mixture: Mixture, text: str) -> Routes:
    """Where each token of a text goes. A text longer than a window is read window by window."""
    ids = mixture.tokenizer.encode(text)
    if not ids:
        raise UsageError("There is no text to inspect.")
    layers: dict[int, list[list[int]]] = {}
    for start in range(0, len(ids), mixture.size):
        for layer, chosen in mixture.chosen(ids[start : start + mixture.size]).items():
            layers.setdefault(layer, []).extend(chosen)
    return Routes(ids, layers)


def shares(mixture: Mixture, routes: Routes) -> dict[str, Any]:
    """For each layer and expert its share of all choices, and the tokens that are most typical of it."""
    from engine.routing import typical_tokens

    layers = []
    for layer, rows in routes.layers.items():
        load = Counter(expert for chosen in rows for expert in chosen)
        experts = [
            {
                "expert": expert, "share": round(load[expert] / load.total(), 4),
                "typical": [_shown(mixture, token) for token in typical],
            }
            for expert, typical in enumerate(typical_tokens(routes.ids, rows, mixture.n_experts, TYPICAL))
        ]  # fmt: skip
        layers.append({"layer": layer, "experts": experts})
    return {"tokens": len(routes.ids), "layers": layers}


def _shown(mixture: Mixture, token: int) -> str:
    """A token as people read it: a space as it is, a line end as a sign."""
    piece: str = mixture.tokenizer.token_bytes(token).decode("utf-8", "replace") or mixture.tokenizer.piece(token)
    return piece.replace("\n", "⏎")


def _share_lines(told: dict[str, Any]) -> Iterator[str]:
    yield "layer\texpert\tshare\ttypical tokens"
    for layer in told["layers"]:
        for e in layer["experts"]:
            typical = " ".join(safe_text(json.dumps(piece, ensure_ascii=False)) for piece in e["typical"])
            yield f"{layer['layer']}\t{e['expert']}\t{e['share']:.3f}\t{typical}"


def _plain_lines(mixture: Mixture, routes: Routes) -> Iterator[str]:
    """A line for each token, a column for each layer, with tabs between."""
    yield "\t".join(["token", *(f"layer {layer}" for layer in routes.layers)])
    for place, token in enumerate(routes.ids):
        cells = (",".join(map(str, rows[place])) for rows in routes.layers.values())
        yield "\t".join([safe_text(_shown(mixture, token)).replace("\t", " "), *cells])


def _coloured_lines(mixture: Mixture, routes: Routes) -> Iterator[str]:
    """The text once for each layer, every token in the colour of the expert that is best for it."""
    yield "experts " + " ".join(_painted(f" {e} ", e) for e in range(mixture.n_experts))
    for layer, rows in routes.layers.items():
        tokens = (_painted(safe_text(_shown(mixture, t)), c[0]) for t, c in zip(routes.ids, rows, strict=True))
        yield f"layer {layer}\n" + "".join(tokens)


def _painted(text: str, expert: int) -> str:
    return f"\x1b[38;5;16m\x1b[48;5;{COLOURS[expert % len(COLOURS)]}m{text}\x1b[0m"
