"""What was said before: names, facts, lists and corrections, told in one turn and asked in another."""
