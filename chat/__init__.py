"""What a person touches: the command line, the conversation on a terminal, and how an answer is shown."""
