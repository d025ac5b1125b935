"""Which expert takes which token: what the routers of a model choose, looked at from outside."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import ModelError
from engine.layers.experts import Experts


@contextmanager
def watched_routers(model: nn.Module) -> Iterator[dict[int, list[Tensor]]]:
    """What the routers choose while the block lasts: layer -> for each pass its experts, N k, the best first.

    Layers without experts are not in it. Nothing is dropped for capacity here. Raises ModelError when none has any.
    """
    layers = [module for module in model.modules() if isinstance(module, Experts)]
    if not layers:
        raise ModelError("This model has no experts.", "`tfm inspect experts` looks at a mixture of experts.")
    blocks: list[Any] = list(model.blocks)  # type: ignore[arg-type]
    seen: dict[int, list[Tensor]] = {i: [] for i, block in enumerate(blocks) if block.mlp in layers}
    handles = [blocks[i].mlp.register_forward_pre_hook(partial(_note, found)) for i, found in seen.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _note(found: list[Tensor], experts: Experts, inputs: tuple[Any, ...]) -> None:
    found.append(experts.route(inputs[0].flatten(0, -2))[2])


@torch.inference_mode()
def chosen_experts(
    model: Any, ids: Sequence[int], read: Callable[[Tensor], object] | None = None
) -> dict[int, list[list[int]]]:
    """Layer -> for each of the ids the experts that take it, the best first. Raises ModelError as above.

    model: its `blocks` are watched while `read`, or else its own `hidden`, is given the ids (1 T).
    """
    with watched_routers(model) as seen:
        (read or model.hidden)(torch.tensor([list(ids)], device=next(model.parameters()).device))
    return {layer: passes[0].tolist() for layer, passes in seen.items()}


def typical_tokens(ids: Sequence[int], chosen: Sequence[Sequence[int]], n_experts: int, count: int) -> list[list[int]]:
    """For each expert of a layer up to `count` ids that are most typical of it, the best first.

    chosen: the experts that take each of the ids. Typical: those of the highest n · ln(p(id | expert) / p(id)), n times
    that the expert took the id. A frequent token that all experts take alike is typical of none.
    """
    of_text = Counter(ids)
    taken: list[Counter[int]] = [Counter() for _ in range(n_experts)]
    for token, experts in zip(ids, chosen, strict=True):
        for expert in experts:
            taken[expert][token] += 1
    found = []
    for tokens in taken:
        score = {t: n * math.log(n / tokens.total() / (of_text[t] / len(ids))) for t, n in tokens.items()}
        found.append(sorted((t for t in score if score[t] > 0), key=lambda t: (-score[t], t))[:count])
    return found
