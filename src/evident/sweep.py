"""A sweep as Hydra runs it: its cells, its progress bar, and the report at its end."""

import logging
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from evident import store
from evident.cell_folder import CellFolder
from evident.errors import UserError
from evident.groups_once import prepare_loader
from evident.kept_experiment import kept_experiment
from evident.models.checkpoint import is_file
from evident.progress import Bar, bar, bars, count_one, counted_elsewhere
from evident.report import kept_scores
from evident.report.build import write
from evident.report.experiment import Cell, Experiment
from evident.report.kept_scores import KeptScores
from evident.report.made_before import MadeBefore
from evident.report.replication import against_commit
from evident.request import Request, search_path

COMPUTE = "evident.cell.run"
CELLS = (COMPUTE, "evident.cell.skip")  # the tasks whose runs are cells of a table
log = logging.getLogger("evident")


@dataclass(frozen=True)
class Grid:
    """Hold the overrides of each cell: of those to compute, and of those that the table shows if they are finished."""

    asked: list[list[str]]
    shown: list[list[str]]


def grid(config: DictConfig) -> Grid:
    """Return the cells of the sweep that `config`, Hydra's config of the whole sweep, describes.

    An override of an axis restricts which cells are computed, but not which cells the table shows: it shows a new
    baseline beside all finished explainers.
    """
    params = config.hydra.sweeper.params or {}
    # The loader lists the files for `glob(*)`.
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    own = parser.parse_overrides([f"{key}={params[key]}" for key in params])
    given = parser.parse_overrides(list(config.hydra.overrides.task))
    asked = _expand(own + given)
    # An override of an axis, or of a key below it, applies to the requested cells only.
    common = [override for override in given if override.get_key_element().split(".")[0] not in params]
    shown = {_position(overrides, params): overrides for overrides in _expand(own + common)}
    shown |= {_position(overrides, params): overrides for overrides in asked}
    return Grid(asked, list(shown.values()))


def _position(overrides: list[str], axes: Iterable[str]) -> tuple[str, ...]:
    """Return the position of a cell on the axes; two cells of one position would be one row of the table."""
    return tuple(override for override in overrides if override.split("=")[0] in axes)


def _expand(overrides: list[Override]) -> list[list[str]]:
    [cells] = BasicSweeper.split_arguments(overrides, None)
    return cells


def _with_sources(request: Request, sources: Mapping[str, str]) -> Request:
    """Return the request of a cell as if its data and weights were there, where files are missing that `sources` names.

    `sources` are those of `KeptScores`.
    """
    config, known = request.config, {}
    for key in ("data", "data.base"):
        data = OmegaConf.select(config, key)
        if data is not None and data.get("source") == "missing" and (name := f"data {data.name}") in sources:
            known[f"{key}.source"] = sources[name]
    weights = config.model.get("weights")
    if weights is not None and not is_file(weights) and (name := f"weights {config.model.name}") in sources:
        known["model.weights"] = sources[name]
    if not known:
        return request
    config = config.copy()
    for key, value in known.items():
        OmegaConf.update(config, key, value)
    return Request(config)


class Sweep(Callback):
    """Show a bar while cells run, and write the report from their scores once all have been tried."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._bar: Bar | None = None
        self._requests: dict[tuple[str, ...], Request] = {}

    def __reduce__(self) -> tuple[type["Sweep"], tuple[()]]:
        # The workers of a parallel launcher get a new callback, without a bar.
        return Sweep, ()

    def on_multirun_start(self, config: DictConfig, **named: Any) -> None:
        prepare_loader(config)
        if self._nothing_to_compute(config, named["config_name"]):
            self._end(config, named["config_name"])
            sys.exit()  # or Hydra would start processes and compose every cell for nothing
        bars.start()
        self._bar = self._shown.enter_context(bar(config.experiment, len(grid(config).asked)))
        shared = Path(config.paths.store)
        with suppress(OSError):  # of a store that cannot be written; the cells report it
            shared.mkdir(parents=True, exist_ok=True)
            self._shown.enter_context(counted_elsewhere(self._bar, shared))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        count_one() if self._bar is None else self._bar.advance()

    def on_multirun_end(self, config: DictConfig, **named: Any) -> None:
        self._shown.close()
        bars.stop()
        if config.task._target_ in CELLS:
            self._end(config, named["config_name"])

    def _request(self, config_name: str, overrides: list[str]) -> Request:
        """Return the request of a cell; composed once, because Hydra takes long."""
        key = tuple(overrides)
        if key not in self._requests:
            self._requests[key] = Request(compose(config_name, overrides))
        return self._requests[key]

    def _nothing_to_compute(self, config: DictConfig, config_name: str) -> bool:
        """Return whether the task computes no cell; log the cells that are there already, if all are."""
        computes = config.task._target_ == COMPUTE
        if config.task._target_ not in CELLS or (computes and config.recompute):
            return False
        requests = []
        try:
            for overrides in grid(config).asked:
                request = self._request(config_name, overrides)
                if not request.applies:
                    continue
                left_out = request.config.leave_out and (request.folder / "LEFT_OUT").is_file()
                if computes and not left_out and not store.is_whole(request.folder):
                    return False
                if not left_out:
                    requests.append(request)
        except Exception:  # whatever is wrong with a config, the sweep will say
            return False
        if computes:
            for request in requests:
                log.info("%s: there already (%s)", request.name, request.folder)
        return True

    def _end(self, config: DictConfig, config_name: str) -> None:
        """Write the report, and end the process with a message if that fails or a requested cell is missing."""
        try:
            missing = self._report(config, config_name)
        except UserError as error:
            sys.exit(str(error))
        except Exception:  # Hydra would only warn about an unexpected exception and exit with 0
            traceback.print_exc()
            sys.exit(1)
        if missing:
            sys.exit("these cells are missing or failed; run python run.py for them:\n" + "\n".join(missing))

    def _report(self, config: DictConfig, config_name: str) -> list[str]:
        """Write the report and return one line for each requested cell that is missing or failed.

        `task=report` takes cells that the store does not have from the kept scores, and then writes tables only.
        """
        file = kept_scores.found(Path(config.paths.results), config.experiment)
        with kept_scores.restored(file if config.task._target_ != COMPUTE else None) as kept:
            return self._report_with(kept, config, config_name)

    def _report_with(self, kept: KeptScores, config: DictConfig, config_name: str) -> list[str]:
        cells: dict[Path, Cell] = {}
        left_out: dict[str, tuple[str, str, str]] = {}
        missing, asked = [], False
        wanted = grid(config)
        for overrides in wanted.shown:
            request = _with_sources(self._request(config_name, overrides), kept.sources)
            composed = request.config
            if not request.applies:
                continue
            asked |= overrides in wanted.asked
            try:
                whole = store.is_whole(request.folder)
            except UserError as error:
                whole = False
                log.error("%s", error)
            folder = CellFolder(request.folder) if whole else kept.folders.get(request.folder.name)
            if folder is not None:
                cells[request.folder] = Cell(composed, folder)
            elif composed.leave_out and (why := request.folder / "LEFT_OUT").is_file():
                network = f"{composed.model.name} on {composed.data.name}"
                title = Cell(composed, CellFolder(request.folder)).title
                left_out[request.folder.name] = (title, network, why.read_text())
            elif request.folder.name in kept.left_out:
                left_out[request.folder.name] = kept.left_out[request.folder.name]
            elif overrides in wanted.asked:
                state = "FAILED" if (request.folder / "FAILED").exists() else "missing"
                missing.append(f"{request.name}: {state} ({request.folder})")
        if not wanted.asked:
            raise UserError("a glob of the sweep matches no file; see the names in conf")
        if not asked:
            raise UserError(
                "no explainer asked for supports a network of the sweep, or explainers_by_model excludes it; "
                "choose another"
            )
        if left_out and not cells and not missing:
            reasons = dict.fromkeys(why for _, _, why in left_out.values())
            raise UserError("no explainer applies to the network:\n" + "\n".join(reasons))
        if cells:
            self._write(config, list(cells.values()), left_out, kept)
        return missing

    def _write(self, config: DictConfig, cells: list[Cell], left_out: kept_scores.LeftOut, kept: KeptScores) -> None:
        """Write report and kept scores, unless the same are there and nothing asks for them, and print the table."""
        from_kept = any(cell.folder in kept.folders.values() for cell in cells)
        overrides = [*search_path(config.hydra.overrides.hydra), *config.hydra.overrides.task]
        experiment = Experiment(cells, kept.audits if from_kept else None, overrides)
        made, results = MadeBefore(config, experiment, left_out), Path(config.paths.results)
        if config.task._target_ == COMPUTE and made.is_there:
            log.info("%s: as the same cells and code wrote it before; task=report writes it again", made.folder)
            text = made.text()
        else:
            if not from_kept:
                kept_scores.keep(experiment, left_out, kept_scores.file_of(results, config.experiment))
            reasons = list(dict.fromkeys(left_out.values()))
            stay = kept_scores.not_kept(experiment) if from_kept else ()
            text = write(experiment, made.folder, reasons, figures=not from_kept, as_they_are=stay)
            if not from_kept:
                made.remember()
        print(f"{text}\npage: {made.folder / 'index.html'}")
        if name := config.get("kept_as"):
            same = kept_experiment(name, "own", config.hydra.overrides.task, config.hydra.sweeper.params)
            print(f"The same as conf/experiment/{name}.yaml, for experiment={name}:\n\n{same}")
        # Kept scores are the record's own.
        if not from_kept and (compared := against_commit(results, config.experiment)):
            print(compared)
