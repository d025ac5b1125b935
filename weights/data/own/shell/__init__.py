"""Questions at the shell: which command, what a command does, and what comes next."""
