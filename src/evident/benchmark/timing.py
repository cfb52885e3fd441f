"""How things are timed: as medians of repeats, and as ratios of two works done in turn."""

import logging
import statistics
import time
from collections.abc import Callable

Row = tuple[str, float, str, float, float, int]
log = logging.getLogger("evident")


def row(name: str, unit: str, values: list[float]) -> Row:
    """A row of the table: the median of `values`, the lowest, the highest, and their number."""
    result = (name, statistics.median(values), unit, min(values), max(values), len(values))
    log.info("%s: %.4g %s", name, result[1], unit)
    return result


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratios(work: Callable[[], object], base: Callable[[], object], repeats: int, tries: int = 1) -> list[float]:
    """Times of `work` in those of `base`, in turn, so that a slow moment of the machine slows both.

    Of the base the fastest of three counts, of the work the fastest of `tries`: what interrupts a short work is not
    its own.
    """
    for warm_up in (work, base):
        warm_up()
    return [min(seconds(work) for _ in range(tries)) / min(seconds(base) for _ in range(3)) for _ in range(repeats)]
