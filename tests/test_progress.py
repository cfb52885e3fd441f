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


def test_steps_in_other_processes_advance_the_bar() -> None:
    counting = Counting()
    with counted_elsewhere(counting, every=0.01):
        for _ in range(2):
            subprocess.run(STEP, check=True)
        until = time.monotonic() + 60
        while counting.steps < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert counting.steps == 2
    assert FINISHED not in os.environ


def test_a_step_counts_for_nobody_outside_a_sweep_or_on_another_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    count_one()
    monkeypatch.setenv(FINISHED, str(tmp_path / "absent"))
    count_one()
    assert not list(tmp_path.iterdir())
