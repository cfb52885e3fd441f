"""A sweep of cells as Hydra runs it: which cells it has, its bar, and the report at its end."""

import logging
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import TaskFunction
from omegaconf import DictConfig

from evident import cell, store
from evident.errors import UserError
from evident.progress import bar, bars
from evident.report.build import write
from evident.report.cells import Cell

log = logging.getLogger("evident")


@dataclass(frozen=True)
class Grid:
    """Overrides of each cell: of those to compute, and of those that the table shows where they are there."""

    asked: list[list[str]]
    shown: list[list[str]]


def grid(config: DictConfig) -> Grid:
    """The cells of the sweep that `config`, Hydra's of the whole sweep, describes.

    An override of an axis narrows what is computed, never what the table shows: a baseline of one's own stands
    beside all that is there already.
    """
    params = config.hydra.sweeper.params
    axes = [f"{key}={params[key]}" for key in params]
    parser = OverridesParser.create()
    own, given = parser.parse_overrides(axes), parser.parse_overrides(list(config.hydra.overrides.task))
    asked = _expand(own + given)
    # An override of an axis, or of what lies below it, is for the cells asked for alone.
    common = [override for override in given if override.get_key_element().split(".")[0] not in params]
    shown = {_position(overrides, params): overrides for overrides in _expand(own + common)}
    shown |= {_position(overrides, params): overrides for overrides in asked}
    return Grid(asked, list(shown.values()))


def _position(overrides: list[str], axes: Iterable[str]) -> tuple[str, ...]:
    """Where on the axes a cell lies; two cells of one place would be one row of the table."""
    return tuple(override for override in overrides if override.split("=")[0] in axes)


def _expand(overrides: list[Override]) -> list[list[str]]:
    [cells] = BasicSweeper.split_arguments(overrides, None)
    return cells


class Sweep(Callback):
    """Hydra's callback: a bar while cells run, and from their scores the report once all have been tried."""

    def __init__(self) -> None:
        self._composed: dict[frozenset[str], DictConfig] = {}

    def __reduce__(self) -> tuple[type["Sweep"], tuple[()]]:
        # The workers of a parallel launcher get a callback of their own, without a bar and without memory.
        return Sweep, ()

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self._bar = bar(config.experiment, len(grid(config).asked))
        bars.start()
        self._progress = self._bar.__enter__()

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **_: Any) -> None:
        # What Hydra has composed once need not be composed again for the report.
        self._composed[frozenset(config.hydra.overrides.task)] = config

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if hasattr(self, "_progress"):  # a parallel launcher's workers have no bar
            self._progress.advance()

    def on_multirun_end(self, config: DictConfig, **named: Any) -> None:
        self._bar.__exit__(None, None, None)
        bars.stop()
        try:
            missing = self._report(config, named["config_name"])
        except UserError as error:
            sys.exit(str(error))
        except Exception:  # a fault of ours: told whole, where Hydra would only warn of it and exit with 0
            traceback.print_exc()
            sys.exit(1)
        if missing:
            sys.exit("without scores, run python run.py for them:\n" + "\n".join(missing))

    def _report(self, config: DictConfig, config_name: str) -> list[str]:
        cells: dict[Path, Cell] = {}
        missing, asked = [], False
        wanted = grid(config)
        for overrides in wanted.shown:
            composed = self._composed.get(frozenset(overrides)) or compose(config_name, overrides)
            if not cell.applies(composed):
                continue
            asked |= overrides in wanted.asked
            folder = store.location(Path(composed.paths.store), "cells", cell.identity(composed))
            try:
                whole = store.is_whole(folder)
            except UserError as error:
                whole = False
                log.error("%s", error)
            if whole:
                cells[folder] = Cell(composed, folder)
            elif overrides in wanted.asked:
                state = "FAILED" if (folder / "FAILED").exists() else "missing"
                name = f"{composed.model.name} {composed.explainer.name} seed {composed.seed}"
                missing.append(f"{name}: {state} ({folder})")
        if not asked:
            raise UserError(
                "no explainer asked for explains a network of the sweep, or is wanted of it (only); choose another"
            )
        if cells:
            results = Path(config.paths.results) / config.experiment
            print(write(list(cells.values()), results, list(config.hydra.overrides.task)))
        return missing
