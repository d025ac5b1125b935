"""Words, facts and sums."""
