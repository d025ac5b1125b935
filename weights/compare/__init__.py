"""The comparisons of `tfm train compare-...`: `trials` is what they share, the others are one each."""
