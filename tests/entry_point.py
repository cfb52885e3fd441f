"""The real entry point, `python run.py`, as a process of its own."""

import atexit
import multiprocessing
import os
import pkgutil
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

import pytest
from filelock import FileLock

import evident

ROOT = Path(__file__).parents[1]
SECONDS = 300

# Imports take longer than most of these runs, so they are done once, in the process that all runs fork from.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([module.name for module in pkgutil.walk_packages(evident.__path__, "evident.")])


class Started:
    """Run `python run.py` with overrides in a process that has imported the package already."""

    def __init__(self, *overrides: str, store: Path, results: Path | None = None) -> None:
        self.line = command(*overrides, store=store, results=results)
        self._printed = [Path(mkdtemp()) / name for name in ("stdout", "stderr")]
        self.process = _FORKS.Process(target=_enter, args=(self.line[1:], options()["env"], self._printed))
        self.process.start()

    def ended(self) -> subprocess.CompletedProcess[str]:
        """Wait for the end; return what it printed and its exit code."""
        self.process.join(SECONDS)
        if self.process.exitcode is None:
            self.process.kill()
            raise subprocess.TimeoutExpired(self.line, SECONDS)
        printed = [file.read_text() if file.exists() else "" for file in self._printed]
        for file in self._printed:
            shutil.rmtree(file.parent, ignore_errors=True)
        return subprocess.CompletedProcess(self.line, self.process.exitcode, *printed)


def run(*overrides: str, store: Path, results: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python run.py` with overrides to its end."""
    return Started(*overrides, store=store, results=results).ended()


def _enter(arguments: Sequence[str], environment: Mapping[str, str], printed: Sequence[Path]) -> None:
    """Run `python` with these arguments in this process; output goes to the two files `printed`."""
    for stream, file in enumerate(printed, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with interrupts ignored
    os.chdir(ROOT)
    sys.argv = list(arguments)
    # The interpreter has started already, so it does not read PYTHONPATH.
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # a forked process does not run them


def command(*overrides: str, store: Path, results: Path | None = None) -> list[str]:
    """Return the command line of the entry point, for a new process."""
    places = [f"paths.store={store}", f"paths.results={results or store / 'results'}"]
    return [sys.executable, str(ROOT / "run.py"), *places, *overrides]


def options() -> dict:
    """Return the arguments of `subprocess.run`: the project's root, captured output, W&B without a network."""
    environment = {**os.environ, "WANDB_MODE": "offline"}
    return {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": SECONDS}


def axes(**names: str) -> tuple[str, ...]:
    """Narrow the sweep's own axes, so that the report looks for no other cells."""
    return tuple(f"hydra.sweeper.params.{name}='{values}'" for name, values in names.items())


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of this process with what `make(folder)` writes; the test processes make it only once."""
    private = factory.mktemp(name) / name
    if "PYTEST_XDIST_WORKER" not in os.environ:
        make(private)
        return private
    shared = factory.getbasetemp().parent / name
    with FileLock(shared.with_suffix(".lock")):
        if not shared.exists():
            scratch = shared.with_suffix(".making")
            shutil.rmtree(scratch, ignore_errors=True)
            make(scratch)
            scratch.rename(shared)
    # A copy, because tests add cells to a store.
    shutil.copytree(shared, private)
    return private


def written(store: Path) -> dict[str, int]:
    """Return every finished artefact and when it was written; unfinished ones have a hidden name."""
    return {str(path.relative_to(store)): path.stat().st_mtime_ns for path in store.glob("*/[!.]*/DONE")}
