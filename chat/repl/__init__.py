"""`tfm chat`: the conversation on a terminal."""
