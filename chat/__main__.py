"""`python -m chat` is `tfm`."""

from chat.cli import main

main()
