"""Two bars, the sweep's and the cell's, on a terminal; nothing elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

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
    """A bar of `total` steps for as long as the context lasts; it is shown while `bars` is started."""
    task = bars.add_task(description, total=total)
    try:
        yield Bar(task)
    finally:
        bars.remove_task(task)


class Bar:
    """One task of the display."""

    def __init__(self, task: TaskID) -> None:
        self._task = task

    def advance(self, steps: int = 1) -> None:
        """Move on by `steps`."""
        bars.advance(self._task, steps)
