"""Progress bars of the sweep and of the cell, on a terminal only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkstemp
from threading import Event, Thread

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

FINISHED = "EVIDENT_FINISHED"  # variable that names the folder to which other processes add a file per finished step
console = Console(stderr=True)
bars = Progress(
    TextColumn("{task.description:<32}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
    console=console,
    transient=True,
    disable=not console.is_terminal,
)


@contextmanager
def bar(description: str, total: int) -> Iterator["Bar"]:
    """Yield a bar of `total` steps, which is shown within the context while `bars` is started."""
    task = bars.add_task(description, total=total)
    try:
        yield Bar(task)
    finally:
        bars.remove_task(task)


class Bar:
    """Advance one task of the display."""

    def __init__(self, task: TaskID) -> None:
        self._task = task

    def advance(self, steps: int = 1) -> None:
        """Advance by `steps`."""
        bars.advance(self._task, steps)


@contextmanager
def counted_elsewhere(bar: Bar, shared: Path, every: float = 1) -> Iterator[None]:
    """Advance `bar` for each `count_one` in processes started within the context; look `every` seconds.

    The processes may be on other machines that see the folder `shared`. Raises `OSError` if it cannot be written.
    """
    with TemporaryDirectory(dir=shared, prefix=".finished.") as folder:
        ended = Event()

        def follow() -> None:
            seen = 0
            while not ended.wait(every):
                seen, before = len(os.listdir(folder)), seen
                bar.advance(seen - before)

        os.environ[FINISHED] = str(Path(folder).absolute())
        # Nothing waits for a daemon at an interrupt.
        thread = Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            del os.environ[FINISHED]


def count_one() -> None:
    """Count a step for the process that started this one, if it still counts and has the same files."""
    folder = os.environ.get(FINISHED)
    if folder and Path(folder).is_dir():
        # One file for each step: two machines that append to one file of a network file system may lose a byte.
        with suppress(OSError):  # a full disk, or nobody counts any more; the step itself is done
            os.close(mkstemp(dir=folder)[0])
