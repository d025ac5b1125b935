"""The emulator on the path, and a home for each test."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for settings and history."""
    return tmp_path
