"""The real entry point as a process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
Runner = Callable[..., subprocess.CompletedProcess[str]]


def run(*overrides: str, store: Path, results: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`python run.py` with overrides, run to its end."""
    return subprocess.run(command(*overrides, store=store, results=results), **options())


def command(*overrides: str, store: Path, results: Path | None = None) -> list[str]:
    """The command line of the real entry point."""
    places = [f"paths.store={store}", f"paths.results={results or store / 'results'}"]
    return [sys.executable, str(ROOT / "run.py"), "threads=1", *places, *overrides]


def options() -> dict:
    """How the process is run: from the project's root, its output caught, W&B kept off the network."""
    environment = {**os.environ, "WANDB_MODE": "offline"}
    return {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": 300}


def written(store: Path) -> dict[str, int]:
    """Every finished artefact and when it was written."""
    return {str(path.relative_to(store)): path.stat().st_mtime_ns for path in store.glob("*/*/DONE")}
