"""The real entry point, as a process of its own."""

import atexit
import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

ROOT = Path(__file__).parents[1]
SECONDS = 300

# Importing everything takes far longer than most of these runs: it is done once, in the process that they fork from.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["evident.cli", "evident.sweep"])


class Started:
    """`python run.py` with overrides, running in a process that had the package imported when it began."""

    def __init__(self, *overrides: str, store: Path, results: Path | None = None) -> None:
        self.line = command(*overrides, store=store, results=results)
        self._told = [Path(mkdtemp()) / name for name in ("stdout", "stderr")]
        self.process = _FORKS.Process(target=_enter, args=(self.line[1:], options()["env"], self._told))
        self.process.start()

    def ended(self) -> subprocess.CompletedProcess[str]:
        """What it printed and how it ended, once it has."""
        self.process.join(SECONDS)
        if self.process.exitcode is None:
            self.process.kill()
            raise subprocess.TimeoutExpired(self.line, SECONDS)
        printed = [file.read_text() if file.exists() else "" for file in self._told]
        for file in self._told:
            shutil.rmtree(file.parent, ignore_errors=True)
        return subprocess.CompletedProcess(self.line, self.process.exitcode, *printed)


def run(*overrides: str, store: Path, results: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`python run.py` with overrides, run to its end."""
    return Started(*overrides, store=store, results=results).ended()


def _enter(arguments: Sequence[str], environment: Mapping[str, str], told: Sequence[Path]) -> None:
    """Become the process that `python` with these arguments is, what it prints in the two files `told`."""
    for stream, file in enumerate(told, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = list(arguments)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # which a forked process leaves out


def command(*overrides: str, store: Path, results: Path | None = None) -> list[str]:
    """The command line of the real entry point, for a process that begins with nothing."""
    places = [f"paths.store={store}", f"paths.results={results or store / 'results'}"]
    return [sys.executable, str(ROOT / "run.py"), "threads=1", *places, *overrides]


def options() -> dict:
    """How the command is run: from the project's root, its output caught, W&B kept off the network."""
    environment = {**os.environ, "WANDB_MODE": "offline"}
    return {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": SECONDS}


def written(store: Path) -> dict[str, int]:
    """Every finished artefact and when it was written; one that is being made, under a hidden name, is none yet."""
    return {str(path.relative_to(store)): path.stat().st_mtime_ns for path in store.glob("*/[!.]*/DONE")}
