"""Stored conversations: a tree of messages for each, written while an answer streams. Nothing here imports torch."""
