"""kill -9 at random moments while answers stream, two chats at a time on one store."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROMISED_SECONDS = 0.25  # of what was printed, at most so much may be lost


def killed(store: Path, kills: int, seed: int) -> list[dict[str, Any]]:
    """The verdicts of killing.py."""
    command = [sys.executable, str(Path(__file__).with_name("killing.py")), str(store), str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def look(verdicts: list[dict[str, Any]], kills: int) -> None:
    """The promise: no corrupt store, no finished message lost, and of an answer no more than a quarter of a second."""
    assert len(verdicts) == kills
    for verdict in verdicts:
        assert verdict["broken"] == [] and verdict["wrong"] == [], verdict
        assert verdict["unfinished"] == verdict["journal"] == 0, verdict
        assert verdict["lost_seconds"] <= PROMISED_SECONDS, verdict
    assert any(verdict["cut"] for verdict in verdicts) and any(verdict["finished"] for verdict in verdicts)


def test_a_kill_at_any_moment_loses_no_finished_message_and_at_most_a_quarter_of_a_second(tmp_path: Path) -> None:
    look(killed(tmp_path / "sessions.sqlite", 30, 7), 30)


@pytest.mark.soak
def test_a_thousand_kills(tmp_path: Path) -> None:
    verdicts = killed(tmp_path / "sessions.sqlite", 1000, 11)
    look(verdicts, 1000)
    lost = sorted(verdict["lost_seconds"] for verdict in verdicts)
    cut, finished = (sum(verdict[key] for verdict in verdicts) for key in ("cut", "finished"))
    print(f"\n{finished} answers finished, {cut} cut; lost: median {lost[500]:.3f} s, most {lost[-1]:.3f} s")
