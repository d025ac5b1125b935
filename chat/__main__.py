"""`python -m chat` is `tfm`."""

from chat.entry import main

main()
