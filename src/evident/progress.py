"""Progress bars of the sweep and of the cell, on a terminal only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

FINISHED = "EVIDENT_FINISHED"  # variable that names the file to which other processes add a byte per finished step
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
def counted_elsewhere(bar: Bar, every: float = 1) -> Iterator[None]:
    """Advance `bar` for each `count_one` in processes started within the context; look `every` seconds."""
    with TemporaryDirectory() as folder:
        file, ended = Path(folder) / "finished", Event()
        file.touch()

        def follow() -> None:
            seen = 0
            while not ended.wait(every):
                seen, before = file.stat().st_size, seen
                bar.advance(seen - before)

        os.environ[FINISHED] = str(file)
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
    """Count a step for the process that started this one, if it counts and has the same files."""
    file = Path(os.environ.get(FINISHED, ""))
    if file.is_file():
        with file.open("ab") as counter:
            counter.write(b".")
