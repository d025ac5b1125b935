"""Characters and instructions in a system prompt: who is spoken to, what it knows, in which form it answers."""
