"""`task=recompute`: some cells of the record, drawn at random, computed again in a scratch store and compared.

A cell that this machine made must have the same bytes. For one that another machine made, or that the store does not
have, the numbers must lie inside the record's prediction intervals.
"""

import json
import math
import random
import sys
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from evident import store
from evident.cell import compute
from evident.cell_folder import COST, CellFolder
from evident.errors import UserError
from evident.groups_once import prepare_loader
from evident.report.experiment import Cell, Experiment
from evident.report.replication import Replication, compare, record_of, table_of
from evident.report.tables.scores import table
from evident.request import Request, search_path
from evident.sweep import grid

TAKEN = ("models", "data")  # artefacts of the store that are not made again
DESCRIBED = {"DONE", "config.yaml", "environment.json"}  # hashes, identity, and who made it: not what was computed
MEASURED = {"seconds", "peak_memory"}  # of `COST`


def run(config: DictConfig) -> None:
    """Compute drawn cells again and print a line for each; exit with 1 if one does not agree with the record.

    Trained networks and rendered data are taken from the store, in which nothing is written. Raises `UserError` if
    there is no record, if its scale is another one, or for a share that is not in (0, 1].
    """
    experiment, record = config.experiment, record_of(config)
    provenance = json.loads(record(f"{experiment}/provenance.json"))
    if provenance["scale"] != config.scale.name:
        raise UserError(f"the record has scale={provenance['scale']}; add scale={provenance['scale']}")
    recorded: dict[str, str] = provenance["cells"]
    drawn = draw(recorded, config.draw.share, config.draw.seed)
    requests = _requests(drawn)
    agreeing = 0
    for name in drawn:
        if name not in requests:
            print(f"{name}: not a cell of experiment={experiment} any more")
            continue
        try:
            agrees, line = _again(requests[name], recorded[name], table_of(record, experiment))
        except Exception as error:  # the other cells are compared all the same
            agrees, line = False, f"failed: {type(error).__name__}: {error}"
        agreeing += agrees
        print(f"{name}: {line}", flush=True)
    print(f"{agreeing} of {len(drawn)} cells agree with the record, of {len(recorded)} (draw.seed={config.draw.seed})")
    if agreeing < len(drawn):
        sys.exit(1)


def draw(names: Collection[str], share: float, seed: int) -> list[str]:
    """Return a share of the names, rounded, but at least one; raise `UserError` for a share that is not in (0, 1]."""
    if not 0 < share <= 1:
        raise UserError(f"draw.share={share} is not in (0, 1]")
    return random.Random(seed).sample(sorted(names), max(1, round(share * len(names))))


def _requests(names: Sequence[str]) -> dict[str, Request]:
    """Return the requests of the experiment's cells with these names."""
    hydra = HydraConfig.get()
    name, folders = hydra.job.config_name, search_path(hydra.overrides.hydra)
    # The config of a task does not hold Hydra's part, which has the axes.
    sweep = compose(name, [*hydra.overrides.hydra, *hydra.overrides.task], return_hydra_config=True)
    prepare_loader(sweep)
    found = {}
    for overrides in grid(sweep).asked:
        request = Request(compose(name, [*folders, *overrides]))
        if request.name in names:
            found[request.name] = request
    return found


def _again(request: Request, recorded: str, record: pd.DataFrame) -> tuple[bool, str]:
    """Compute the cell in a scratch store; return whether it agrees with the record, and how in words."""
    before = request.root / "cells" / recorded
    with TemporaryDirectory() as scratch:
        for kind in TAKEN:
            (Path(scratch) / kind).mkdir()
            for done in (request.root / kind).glob("[!.]*/DONE"):
                (Path(scratch) / kind / done.parent.name).symlink_to(done.parent.resolve())
        config = request.config.copy()
        OmegaConf.update(config, "paths.store", scratch)
        OmegaConf.update(config, "logger", {}, merge=False)
        own = Request(config)
        after = store.artefact(own.root, "cells", own.identity, partial(compute, own))
        if (before / "DONE").exists() and _made_here(before):
            changed = differing(before, after)
            return not changed, f"differs in {', '.join(changed)}" if changed else "same bytes"
        found = within_intervals(Cell(config, CellFolder(after)), record)
        return found.confirmed, f"made elsewhere, {found.line()}"


def _made_here(folder: Path) -> bool:
    """Return whether a cell was made on a machine like this one, by whatever commit."""
    made: dict[str, Any] = json.loads(CellFolder(folder).environment())
    return made | {"commit": ""} == store.environment() | {"commit": ""}


def differing(before: Path, after: Path) -> list[str]:
    """Return the files of two folders of a cell that differ; of costs, only what is counted is compared."""
    names = {file.name for folder in (before, after) for file in folder.iterdir()} - DESCRIBED
    return sorted(name for name in names if _content(before / name) != _content(after / name))


def _content(file: Path) -> object:
    if not file.exists():
        return None
    if file.name == COST.file:
        return {key: value for key, value in json.loads(file.read_text()).items() if key not in MEASURED}
    return file.read_bytes()


def within_intervals(cell: Cell, record: pd.DataFrame) -> Replication:
    """Compare the means of one cell with the rows of the record of its explainer, data and model.

    A row is the mean of `seeds` cells, so the interval of one cell is wider than that of another row, by the square
    root of (seeds + 1) / 2.
    """
    experiment = Experiment([cell], audits=[])
    means = table(experiment.scores, experiment.directions)
    labels = cell.labels
    own = record
    for name in ("explainer", "data", "model"):
        own = own[own[name] == labels[name]]
    wider = (own["seeds"].astype(str).str.split().map(len) + 1).div(2).map(math.sqrt)
    low, high = (own["mean"] + wider * (own[end] - own["mean"]) for end in ("ci_low", "ci_high"))
    return compare(means, own.assign(ci_low=low, ci_high=high))
