"""`python -m weights` is `tfm train`, without the rest of the command line."""

import sys

from typer.exceptions import TyperException

from engine.errors import TfmError
from weights.cli import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except TfmError as e:
        print(f"tfm train: {e}", file=sys.stderr)
        sys.exit(e.exit_code)
    except TyperException as e:
        print(f"tfm train: {e.format_message()}", file=sys.stderr)
        sys.exit(2)
