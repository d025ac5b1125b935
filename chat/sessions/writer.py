"""Which process writes an answer, so that another can tell a talk that goes on from one that was killed."""

import os
import platform
import sys
from pathlib import Path


def this_process() -> str:
    """A name of this process that no later one has, on this machine."""
    pid = os.getpid()
    return f"{platform.node()}:{pid}:{_started(pid)}"


def is_gone(writer: str) -> bool:
    """Whether the process is known to have ended. One of another machine never is: its own tfm will tell."""
    node, pid, started = writer.rsplit(":", 2) if writer.count(":") >= 2 else ("", "", "")
    if node != platform.node() or not pid.isdigit():
        return not writer
    if sys.platform == "win32":  # there is no harmless way to ask; one that still lives writes its end all the same
        return int(pid) != os.getpid()
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's process has the number now, or it is ours no longer
    return started != _started(int(pid))


def _started(pid: int) -> str:
    """When a process started, in ticks since the machine did; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
