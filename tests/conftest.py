"""For every test: no network, a home of its own, one thread, and hypothesis without a clock."""

import itertools
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before torch is imported anywhere: tiny models run faster on one thread, and give the same numbers everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

# In this process and in every Python that a test starts, nothing reaches beyond this machine.
NO_NETWORK = str(Path(__file__).parent / "no_network")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [NO_NETWORK, os.environ.get("PYTHONPATH")]))
sys.path.insert(0, NO_NETWORK)
sys.modules.pop("sitecustomize", None)
import sitecustomize  # noqa: E402, F401

_count = itertools.count()
_quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile("default", deadline=None, derandomize=True, database=None, suppress_health_check=_quiet)
settings.register_profile("random", deadline=None, max_examples=1000, suppress_health_check=_quiet)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, history and caches in a folder of the test; nothing of the person who runs it is read or written."""
    folder = tmp_path_factory.getbasetemp() / f"home-{next(_count)}"
    folder.mkdir()
    for name in [n for n in os.environ if n.startswith("TFM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    for name in ("CONFIG", "STATE", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
    return folder
