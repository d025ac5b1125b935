"""The learning rate as a pure function of the step: a plot and a test need no optimizer, a resume restores nothing."""

import math

from weights.recipe import Stage


def lr_at(step: int, n_steps: int, stage: Stage) -> float:
    """Linear warm-up, a plateau, then half a cosine down to min_lr over the last `decay` part of the steps.

    decay = 1 is the usual cosine; less is warm-up-stable-decay.
    """
    warmup = min(stage.warmup, n_steps // 2)
    if step < warmup:
        return stage.lr * (step + 1) / warmup
    falling = max(1, round((n_steps - warmup) * stage.decay))
    done = max(0, step - (n_steps - falling)) / falling
    return stage.min_lr + (stage.lr - stage.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
