"""The blocks of every model here: norms, positions, attention, feed-forward, residual paths.

Tensor shapes are written with the letters B (batch), T (new positions), S (all positions), H (heads),
K (key/value heads), D (head_dim), C (d_model), V (vocabulary).
"""
