"""Optimizers: AdamW for all, or Muon for the matrices of the blocks with AdamW for the rest."""

from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from weights.recipe import Stage

BETAS = (0.9, 0.95)


def build_optimizers(model: nn.Module, stage: Stage) -> list[Optimizer]:
    """The optimizers of a stage. Weight decay is for matrices; norms, biases and embeddings have none.

    Matrices of experts, which lie in one tensor, have AdamW in either case: Muon is for single ones.
    Muon (Jordan 2024) orthogonalises the update of a matrix; its rate is scaled to AdamW's update size
    (Liu 2025), so that one learning rate serves both.
    """
    matrices, stacked, rest = _split(model)
    groups = [{"params": rest, "weight_decay": 0.0}]
    if decayed := matrices + stacked if stage.optimizer == "adamw" else stacked:
        groups.append({"params": decayed, "weight_decay": stage.weight_decay})
    if stage.optimizer == "adamw":
        return [AdamW(groups, lr=stage.lr, betas=BETAS, eps=1e-10, fused=True)]
    return [
        Muon(matrices, lr=stage.lr, weight_decay=stage.weight_decay, adjust_lr_fn="match_rms_adamw"),
        AdamW(groups, lr=stage.lr, betas=BETAS, eps=1e-10, fused=True),
    ]


def _split(model: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """(matrices of the blocks, stacks of matrices in them, everything else) of what is to be trained."""
    matrices: list[Tensor] = []
    stacked: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = "blocks" in name.split(".")
        kind = {2: matrices, 3: stacked}.get(parameter.dim(), rest) if inside else rest
        kind.append(parameter)
    return matrices, stacked, rest


def set_lr(optimizers: list[Optimizer], lr: float) -> None:
    """One learning rate for all groups."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
