"""Shared by all tests: real data by EVIDENT_DATA, an own store, the real entry point as a process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
Runner = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "EVIDENT_DATA" not in os.environ:
        absent = pytest.mark.skip(reason="needs real data; set EVIDENT_DATA to the folder that holds it")
        for item in items:
            if "real_data" in item.keywords:
                item.add_marker(absent)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Two test processes share two cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def evident() -> Runner:
    """`python run.py` with overrides, in a process of its own."""

    def run(*overrides: str, store: Path, results: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*overrides, store=store, results=results), **options())

    return run


def command(*overrides: str, store: Path, results: Path | None = None) -> list[str]:
    """The command line of the real entry point."""
    places = [f"paths.store={store}", f"paths.results={results or store / 'results'}"]
    return [sys.executable, str(ROOT / "run.py"), "threads=1", *places, *overrides]


def options() -> dict:
    """How the process is run: from the project's root, its output caught, W&B kept off the network."""
    environment = {**os.environ, "WANDB_MODE": "offline"}
    return {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": 300}
