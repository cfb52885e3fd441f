"""Timing: medians of repeats, and ratios of two functions called in turn."""

import logging
import statistics
import time
from collections.abc import Callable

Row = tuple[str, float, str, float, float, int]
log = logging.getLogger("evident")


def row(name: str, unit: str, values: list[float]) -> Row:
    """Return a row of the table: the median of `values`, their minimum, maximum and number."""
    result = (name, statistics.median(values), unit, min(values), max(values), len(values))
    log.info("%s: %.4g %s", name, result[1], unit)
    return result


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of one call in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratios(work: Callable[[], object], base: Callable[[], object], repeats: int, tries: int = 1) -> list[float]:
    """Return `repeats` times of `work` relative to `base`; both are called in turn, so a busy machine slows both.

    Each ratio uses the fastest of `tries` calls of `work` and of three calls of `base`, to exclude interruptions.
    """
    for warm_up in (work, base):
        warm_up()
    return [min(seconds(work) for _ in range(tries)) / min(seconds(base) for _ in range(3)) for _ in range(repeats)]
