"""The other architectures, built of engine/layers, and how text goes through them."""
