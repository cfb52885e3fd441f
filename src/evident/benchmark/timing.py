"""Timing: medians of repeats, and ratios of two functions called in turn."""

import logging
import statistics
import time
from collections.abc import Callable, Mapping

Row = tuple[str, float, str, float, float, int]
log = logging.getLogger("evident")


def row(name: str, unit: str, values: list[float]) -> Row:
    """Return a row of the table: the median of `values`, their minimum, maximum and number."""
    result = (name, statistics.median(values), unit, min(values), max(values), len(values))
    log.info("%s: %.4g %s", name, result[1], unit)
    return result


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of one call in seconds: on one thread the wall time, without that of other programs."""
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turn(works: Mapping[str, Callable[[], object]], repeats: int, tries: int = 2) -> dict[str, list[float]]:
    """Return `repeats` times of every work, each the fastest of `tries`; all are called in turn, after a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(repeats):
        rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(tries)]
        for name, values in times.items():
            values.append(min(each[name] for each in rounds))
    return times


def ratios(work: Callable[[], object], base: Callable[[], object], repeats: int, tries: int = 1) -> list[float]:
    """Return `repeats` times of `work` relative to `base`; both are called in turn, so a busy machine slows both.

    Each ratio uses the fastest of `tries` calls of `work` and of three calls of `base`, to exclude interruptions.
    """
    for warm_up in (work, base):
        warm_up()
    return [min(seconds(work) for _ in range(tries)) / min(seconds(base) for _ in range(3)) for _ in range(repeats)]
