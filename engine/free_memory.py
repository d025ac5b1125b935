"""How much memory this process may still take: what the system can give, or less where a control group limits it.

Torch-free. Nothing is allocated to find out.
"""

import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
GROUPS, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
# Of each version of control groups: the limit, what is in use, and the key in memory.stat of what of that is files'
# pages that are not in use: the system takes those back before it refuses anything.
FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory() -> int | None:
    """Bytes; None where the system does not say."""
    limits = [of_system(), of_groups()]
    return min((limit for limit in limits if limit is not None), default=None)


def of_system() -> int | None:
    """What the kernel could give without swapping (MemAvailable); elsewhere the free pages, or all there are."""
    for line in _text(MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):
        try:
            return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):
            continue
    return None


def of_groups() -> int | None:
    """The least that the control groups of this process leave it; None without a limit."""
    found = []
    for line in _text(GROUPS).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            continue
        version, root = (1, MOUNT / "memory") if controllers else (2, MOUNT)
        group = root / path.strip("/")
        # A group is limited by those above it, too. In a container the path may be one of outside: then only the root.
        places = [group, *group.parents]
        found += [_left(place, version) for place in places[: places.index(root) + 1]]
    return min((left for left in found if left is not None), default=None)


def _left(group: Path, version: int) -> int | None:
    """What the limit of one group leaves; None without one."""
    limit, used, key = FILES[version]
    try:
        most, taken = int(_text(group / limit)), int(_text(group / used))
    except ValueError:  # "max", or no such file
        return None
    for line in _text(group / "memory.stat").splitlines():
        if line.split()[:1] == [key]:
            taken -= int(line.split()[1])
    return max(0, most - taken)


def _text(path: Path) -> str:
    """The text of a file of the system; empty where there is none."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
