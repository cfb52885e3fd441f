"""Steps that other processes finish advance the bar of the process that shows it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evident.progress import FINISHED, Bar, count_one, counted_elsewhere

STEP = [sys.executable, "-c", "from evident.progress import count_one; count_one()"]


class Counting(Bar):
    """A bar that is not shown."""

    def __init__(self) -> None:
        self.steps = 0

    def advance(self, steps: int = 1) -> None:
        self.steps += steps


def test_steps_in_other_processes_advance_the_bar(tmp_path: Path) -> None:
    counting = Counting()
    with counted_elsewhere(counting, tmp_path, every=0.01):
        assert Path(os.environ[FINISHED]).is_relative_to(tmp_path)  # where workers on other machines see it
        for _ in range(2):
            subprocess.run(STEP, check=True)
        until = time.monotonic() + 60
        while counting.steps < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert counting.steps == 2
    assert FINISHED not in os.environ
    assert not list(tmp_path.iterdir())


def test_a_step_counts_for_nobody_outside_a_sweep_or_on_another_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    count_one()
    monkeypatch.setenv(FINISHED, str(tmp_path / "absent"))
    count_one()
    assert not list(tmp_path.iterdir())


def test_a_step_that_cannot_be_written_raises_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(**_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setenv(FINISHED, str(tmp_path))
    monkeypatch.setattr("evident.progress.mkstemp", full)
    count_one()
    assert not list(tmp_path.iterdir())
