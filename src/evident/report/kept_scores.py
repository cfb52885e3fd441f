"""The scores of an experiment in one small file, from which `task=report` rebuilds its tables without the store.

    EXPERIMENT.zip      in the folder `scores` of the results
        scores.parquet      the scores of all cells, as `cell_folder.SCORES`, and a column `cell`, its hash
        cells.json          of every cell: the name of each other file, and its place under files/
        audits.json         what each network uses, as `Experiment.audits`
        left_out.json       which cells do not exist, and why
        sources.json        what names data and weights that are read from files: the digest of the files
        files/HASH          every other file of a cell once: network, cost, features, predictions, environment ...

Heatmaps and pictures are not kept, so figures are not rebuilt. Curves over pixels or thresholds would be nine tenths of
the file. Where all models have several networks, their intervals are over networks, and means over the images of each
are kept. Where one has a single network none are kept, and `curves` stays as it is.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from evident.cell_folder import (
    COST,
    DIRECTIONS,
    FEATURES,
    INTERPRETATION,
    NETWORK,
    PREDICTIONS,
    SAMENESS,
    SCORES,
    CellFolder,
)
from evident.errors import UserError
from evident.report.experiment import Experiment
from evident.report.figures.files import write_whole
from evident.report.tables.features import with_interpretation

KEPT = (NETWORK, DIRECTIONS, COST, SAMENESS, PREDICTIONS)  # as they are
ENVIRONMENT = "environment.json"
COMMITTED = Path(__file__).parents[3] / "results"
AVERAGED = ("pixels", "thresholds")  # axes of curves that are kept as means
LeftOut = Mapping[str, tuple[str, str, str]]  # by the hash of a cell: explainer, network, and why there is none
ALL_IMAGES = "all images"
CURVE = ["cell", "experiment", "data", "model", "explainer", "seed", "metric", "axis", "at"]


def file_of(results: Path, experiment: str) -> Path:
    """Return the file that keeps the scores of an experiment in the folder `results`."""
    return results / "scores" / f"{experiment}.zip"


def found(results: Path, experiment: str) -> Path:
    """Return the file that keeps the scores of an experiment: in `results`, or the committed one if none is there."""
    own = file_of(results, experiment)
    return own if own.is_file() else file_of(COMMITTED, experiment)


def keep(experiment: Experiment, left_out: LeftOut, file: Path) -> None:
    """Write what the tables of the experiment need to `file`. The same cells give the same bytes."""
    files: dict[str, bytes] = {}
    cells: dict[str, dict[str, str]] = {}
    for cell in experiment.cells:
        own = {product.file: (cell.folder.path / product.file) for product in KEPT if cell.folder.has(product)}
        contents = {name: path.read_bytes() for name, path in own.items()}
        contents[ENVIRONMENT] = cell.folder.environment().encode()
        if (features := cell.folder.get(FEATURES)) is not None:
            table = with_interpretation(features, cell.folder.get(INTERPRETATION))
            contents[FEATURES.file] = table.to_csv(index=False).encode()
        cells[cell.folder.path.name] = {name: _place(content, files) for name, content in contents.items()}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "cells.json", json.dumps(cells, indent=1).encode())
        _add(archive, "audits.json", json.dumps(experiment.audits, indent=1).encode())
        _add(archive, "left_out.json", json.dumps(left_out, indent=1).encode())
        _add(archive, "sources.json", json.dumps(_sources(experiment), indent=1).encode())
        for place, known in files.items():
            _add(archive, place, known)
        _add(archive, "scores.parquet", encoded(_scores(experiment)))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, content.getvalue())


@dataclass(frozen=True)
class KeptScores:
    """Hold what a file keeps: the folders of cells by their hashes, what each network uses, what is left out.

    `sources` say what names files in the hash of a cell, which is found by them where the files are missing: of a data
    set, called `data NAME`, and of published weights, called `weights NETWORK`.
    """

    folders: Mapping[str, CellFolder] = field(default_factory=dict)
    audits: Sequence[dict[str, Any]] = ()
    left_out: LeftOut = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def restored(file: Path | None) -> Iterator[KeptScores]:
    """Yield what the file keeps, nothing if there is no file. The folders exist within the body only.

    Raises `UserError` if the file cannot be read, because it is damaged or of an earlier version.
    """
    if file is None or not file.is_file():
        yield KeptScores()
        return
    with TemporaryDirectory() as scratch:
        try:
            kept = _unpacked(file, Path(scratch))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{file} is damaged or of an earlier version ({error}); remove it, and a sweep writes it again"
            ) from error
        yield kept


def _unpacked(file: Path, scratch: Path) -> KeptScores:
    with zipfile.ZipFile(file) as archive:
        scores = pd.read_parquet(io.BytesIO(archive.read("scores.parquet")))
        by_cell = dict(iter(scores.groupby("cell", sort=False)))
        folders = {}
        for name, files in json.loads(archive.read("cells.json")).items():
            folder = CellFolder(scratch / name)
            folder.path.mkdir()
            for own, place in files.items():
                (folder.path / own).write_bytes(archive.read(place))
            folder.write(SCORES, by_cell[name].drop(columns="cell"))
            folders[name] = folder
        left_out = {name: tuple(why) for name, why in json.loads(archive.read("left_out.json")).items()}
        audits, sources = (json.loads(archive.read(name)) for name in ("audits.json", "sources.json"))
        return KeptScores(folders, audits, left_out, sources)


def encoded(scores: pd.DataFrame) -> bytes:
    """Return scores as parquet, whose size is that of the values: all other columns repeat a few entries."""
    content = io.BytesIO()
    # First bytes of all values, second bytes and so on: equal signs and exponents stand side by side, a fifth less.
    repeated = [str(column) for column in scores if column != "value"]
    layout: Any = {"use_dictionary": repeated, "column_encoding": {"value": "BYTE_STREAM_SPLIT"}}
    scores.to_parquet(content, index=False, compression="zstd", compression_level=19, **layout)
    return content.getvalue()


def _sources(experiment: Experiment) -> dict[str, str]:
    found: dict[str, str] = {}
    for cell in experiment.cells:
        for key in ("data", "data.base"):
            data = OmegaConf.select(cell.config, key)
            if data is not None and data.get("source"):
                found[f"data {data.name}"] = str(data.source)
        if weights := cell.folder.read(NETWORK).get("weights"):
            found[f"weights {cell.config.model.name}"] = weights
    return found


def not_kept(experiment: Experiment) -> tuple[str, ...]:
    """Return the tables of an experiment that kept scores do not give."""
    hashes = [{cell.folder.read(NETWORK)["hash"] for cell in network.cells} for network in experiment.networks()]
    return () if all(len(names) > 1 for names in hashes) else ("curves",)


def _scores(experiment: Experiment) -> pd.DataFrame:
    several, parts = not not_kept(experiment), []
    for cell in experiment.cells:
        scores = cell.folder.read(SCORES)
        scores.insert(0, "cell", cell.folder.path.name)
        shown = OmegaConf.select(cell.config, "section.scores.curves", default=True)
        parts.append(_averaged(scores) if several and shown else scores[~_points(scores)])
    return pd.concat(parts, ignore_index=True)


def _points(scores: pd.DataFrame) -> pd.Series:
    """Return which rows are points of a curve over pixels or thresholds."""
    return scores["axis"].isin(AVERAGED) & scores["at"].notna()


def _averaged(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of a cell with the mean over images of each point of a curve, where the curve began."""
    curve = _points(scores)
    points = scores[curve].reset_index(names="row").groupby(CURVE, sort=False)
    means = points.agg(row=("row", "first"), value=("value", "mean")).reset_index()
    means = means.assign(image=ALL_IMAGES, target=-1)
    whole = pd.concat([scores[~curve].reset_index(names="row"), means]).sort_values("row", kind="stable")
    return whole[scores.columns]


def _place(content: bytes, files: dict[str, bytes]) -> str:
    """Return where the content is in the archive; equal contents are there once."""
    place = f"files/{hashlib.sha256(content).hexdigest()[:16]}"
    files[place] = content
    return place


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # Without the time of writing, equal contents are equal files.
    archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
