"""Label smoothing in weights/objectives.py: the piecewise loss against torch's."""

import pytest
import torch
from torch.nn import functional

from weights import objectives
from weights.objectives import cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("piece", [3, 1024])
def test_loss_and_gradients_are_those_of_torch(smoothing: float, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "LOGIT_ROWS", piece)
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(10, 6, generator=generator), torch.randn(9, 6, generator=generator)
    targets = torch.tensor([0, 8, -1, 3, 3, -1, 2, 7, 1, 5])
    results = []
    for ours in (True, False):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        loss = (
            cross_entropy(h, w, targets, smoothing) if ours else functional.cross_entropy(
                h @ w.T, targets, ignore_index=-1, reduction="sum", label_smoothing=smoothing
            )
        )  # fmt: skip
        (2 * loss).backward()
        results.append((loss.detach(), h.grad, w.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
