"""What can be had of memory is read of the system, and a model that does not fit is refused with the numbers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TINY

from engine import free_memory, memory
from engine.api import Engine
from engine.errors import ModelError
from engine.memory import memory_of, refuse_too_large

GIB = 1 << 30


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the files of a system: its free KiB, the line of this process's group, and files below the mount."""

    def made(free: int | None, group: str, **files: str) -> None:
        lines = "MemTotal: 99999 kB\n" + (f"MemAvailable:   {free} kB\n" if free is not None else "")
        (tmp_path / "meminfo").write_text(lines)
        (tmp_path / "cgroup").write_text(group)
        for name, text in files.items():
            path = tmp_path / "mount" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.setattr(free_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(free_memory, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(free_memory, "MOUNT", tmp_path / "mount")
    return made


def test_what_the_kernel_could_give_is_what_can_be_had(system: Callable[..., None]) -> None:
    system(1000, "0::/\n")
    assert free_memory.free_memory() == 1000 * 1024


def test_a_limit_of_this_group_or_one_above_counts_but_for_files_pages(system: Callable[..., None]) -> None:
    """Pages of files that nothing uses are given back before anything is refused."""
    system(
        10_000, "0::/a/b\n", a__b__memory_dot_max="max\n", a__b__memory_dot_current="5\n",
        a__memory_dot_max="3000000\n", a__memory_dot_current="2000000\n", memory_dot_max="9000000\n",
        memory_dot_current="1\n", a__memory_dot_stat="anon 7\ninactive_file 500000\nactive_file 9\n",
    )  # fmt: skip
    assert free_memory.free_memory() == 1_500_000


def test_the_first_version_of_groups_is_read_too(system: Callable[..., None]) -> None:
    names = {"memory__x__memory_dot_limit_in_bytes": "4000", "memory__x__memory_dot_usage_in_bytes": "1000"}
    system(10_000, "5:cpu,cpuacct:/y\n4:memory:/x\n", **names)
    assert free_memory.free_memory() == 3000


def test_more_in_use_than_the_limit_leaves_nothing(system: Callable[..., None]) -> None:
    system(10_000, "0::/\n", memory_dot_max="10", memory_dot_current="20")
    assert free_memory.free_memory() == 0


def test_elsewhere_the_system_is_asked_for_its_pages(
    system: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    system(None, "")
    pages = {"SC_PHYS_PAGES": 50, "SC_PAGE_SIZE": 10}
    monkeypatch.setattr(free_memory.os, "sysconf", lambda name: pages[name] if name in pages else int("no such name"))
    assert free_memory.free_memory() == 500
    pages.clear()
    assert free_memory.free_memory() is None


def test_what_fits_is_not_refused_and_an_unknown_amount_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = memory_of(TINY, 100, "float32")
    for free in (needed.total, None):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        refuse_too_large(needed, 100, "")
    monkeypatch.setattr(memory, "free_memory", lambda: needed.total - 1)
    with pytest.raises(ModelError, match=r"needs .* of memory"):
        refuse_too_large(needed, 100, "")


def test_an_engine_that_would_not_fit_is_refused_before_a_weight_is_read(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the weights, the cache at the context and the rest need, and what would take less."""

    def nothing(*_: object) -> None:
        raise AssertionError("weights are read")

    monkeypatch.setattr("engine.source.load_model", nothing)
    monkeypatch.setattr(memory, "free_memory", lambda: 10_000_000)
    said = r"needs \d+.\d MB of memory \(.* weights, .* cache at 512 positions, .* work\), and 10.0 MB can be had"
    with pytest.raises(ModelError, match=said) as refused:
        make_engine(context=100_000)
    assert refused.value.exit_code == 3 and refused.value.hint.startswith("Less is needed with --kv int8 or --quant")


def test_a_cache_is_counted_at_the_context_that_is_asked_for_and_in_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a context not at the model's maximum: the cache grows by need."""
    config = replace(TINY, max_positions=1 << 20, n_kv_heads=4, head_dim=64)
    long, narrow = (memory_of(config, 1 << 20, "float32", kv).cache for kv in ("auto", "int8"))
    assert long == 2 * 4 * 128 * 4 * (1 << 20) and narrow * 3 < long
    short = memory_of(config, 512, "float32")
    assert short.cache < long // 1000


def test_a_context_that_was_not_asked_for_refuses_nothing(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed: list[int] = []
    monkeypatch.setattr("engine.api.refuse_too_large", lambda memory, positions, hint: needed.append(memory.cache))
    monkeypatch.setattr("engine.api.CHUNK", 16)
    make_engine()
    make_engine(context=64)
    make_engine(context=64, kv="int8")
    assert needed[0] * 4 == needed[1] > needed[2]
