"""Progress bars of the sweep and of the cell, on a terminal only."""

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
