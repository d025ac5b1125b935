"""Small talk: greetings, thanks, feelings, wishes, and who tfm is."""
