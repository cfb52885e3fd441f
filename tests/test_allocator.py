"""The allocator keeps large blocks, in every process that imports the package, unless the user tunes it."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mallopt is a function of Linux's C library")

# Minor page faults of 20 blocks of 64 MiB, beyond what malloc ever keeps by itself: 16,384 pages each if mapped anew.
COUNT = """
import resource
import evident
import torch
torch.set_num_threads(1)
for _ in range(15):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> int:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", COUNT]
    ended = subprocess.run(command, env={**own, **environment}, capture_output=True, text=True, check=True)
    return int(ended.stdout)


def test_freed_blocks_are_used_again() -> None:
    assert faults() < 40_000


def test_tuning_by_the_environment_is_left_alone() -> None:
    assert faults(MALLOC_MMAP_THRESHOLD_="1048576") > 300_000
