"""The training loop and what it is made of: optimizers, schedule, saved state, metrics."""
