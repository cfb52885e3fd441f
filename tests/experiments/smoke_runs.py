"""Experiments of conf/experiment: their configs and axes, and one finished smoke run per paper."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from entry_point import ROOT, axes, run
from explainer_configs import run_with
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from evident.cell_folder import SCORES, CellFolder
from evident.cli import prepare
from evident.request import Request
from evident.sweep import grid

CONF = ROOT / "conf"
QUIET = ("scale=smoke", "logger=none")


def experiments(folder: str = "") -> list[str]:
    """Return the names of all experiments in a folder of conf/experiment, those in its sub-folders included.

    `all` is no sweep of its own.
    """
    place = CONF / "experiment"
    names = {file.relative_to(place).with_suffix("").as_posix() for file in (place / folder).rglob("*.yaml")}
    return sorted(names - {"all"})


@contextmanager
def configs() -> Iterator[None]:
    """Let `compose` and `grid` find the project's configs."""
    prepare()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(*overrides: str) -> DictConfig:
    """Return the config of a run."""
    with configs():
        return compose("config", list(overrides))


@cache
def sweep_of(experiment: str) -> DictConfig:
    """Return the config of the whole sweep at scale=smoke, Hydra's part included."""
    with configs():
        return compose("config", [f"experiment={experiment}", "scale=smoke"], return_hydra_config=True)


@cache
def cells(experiment: str) -> list[dict[str, str]]:
    """Return the value on each axis (model, explainer, seed) of every cell of the sweep at scale=smoke."""
    config = sweep_of(experiment)
    with configs():
        values = [dict(override.split("=", 1) for override in overrides) for overrides in grid(config).asked]
        return [{axis: value for axis, value in cell.items() if axis in config.hydra.sweeper.params} for cell in values]


def axis(experiment: str, name: str) -> list[str]:
    """Return the different values on an axis of the sweep, in order."""
    return list(dict.fromkeys(cell[name] for cell in cells(experiment) if name in cell))


@cache
def requests(experiment: str, count: int | None = None) -> list[Request]:
    """Return the cells of one seed of an experiment, with the first `count` explainers only; data are not needed.

    What the experiment itself sets below `explainer` is left out.
    """
    models, explainers = axis(experiment, "model"), axis(experiment, "explainer")[:count]
    # Without the groups that do not matter here, composing takes half the time.
    rest = ["metric=[]", "recorder=[]", "section=[]"]
    asked = [f"experiment={experiment}", "scale=smoke", "paths.data=none", "seed=0", *rest]
    if experiment == "own":  # any folder of pictures will do; its recorder of scores has a setting
        asked += [f"data.root={ROOT / 'results' / 'an8flower' / 'figures'}", "recorder=[scores]"]
    first = [*asked, f"explainer={explainers[0]}"]
    with configs():
        by_model = [compose("config", [*first, f"model={name}"]) for name in models] or [compose("config", first)]
    found = []
    for model in by_model:
        for explainer in explainers:
            config = model.copy()
            config.explainer = run_with(explainer).explainer.copy()
            found.append(Request(config))
    return found


class Run(NamedTuple):
    """A finished run of an experiment: its overrides, its store and the folder of its results."""

    experiment: str
    overrides: tuple[str, ...]
    store: Path
    results: Path

    @property
    def cells(self) -> list[str]:
        """The cells in the report, as data, model, explainer and seed."""
        return list(json.loads((self.results / "provenance.json").read_text())["cells"])

    def figures(self) -> dict[str, Path]:
        """Return the file of each figure in the gallery, by name; equal figures share a file."""
        shown = re.findall(r'<img src="(figures/[^"]+)" alt="([^"]+)"', (self.results / "index.html").read_text())
        return {name.replace(" ", "_"): self.results / file for file, name in shown}

    def table(self, *index: str) -> pd.DataFrame:
        """Return the mean scores: one row per explainer (or `index`), one column per metric."""
        return pd.read_csv(self.results / "table.csv").pivot(
            index=list(index) or "explainer", columns="metric", values="mean"
        )

    def folders(self) -> dict[tuple[str, str], CellFolder]:
        """Return the cells of the experiment in the store, by model and explainer."""
        found = [CellFolder(file.parent) for file in self.store.glob(f"cells/*/{SCORES.file}")]
        first = [(folder, folder.read(SCORES).iloc[0]) for folder in found]
        return {
            (row["model"], row["explainer"]): folder for folder, row in first if row["experiment"] == self.experiment
        }


def finish(experiment: str, *overrides: str, store: Path, results: Path | None = None) -> Run:
    """Run an experiment at scale=smoke without loggers to its end, which succeeds."""
    results = results or store / "results"
    run_to_end(experiment, *overrides, store=store, results=results)
    return Run(experiment, asked(experiment, *overrides), store, results / experiment)


def asked(experiment: str, *overrides: str) -> tuple[str, ...]:
    """Return the overrides of such a run."""
    return (f"experiment={experiment}", *QUIET, *overrides)


def run_to_end(experiment: str, *overrides: str, store: Path, results: Path | None = None) -> None:
    ended = run(*asked(experiment, *overrides), store=store, results=results)
    assert ended.returncode == 0, ended.stderr


# One run per paper: an experiment and its overrides.
RUNS: dict[str, tuple[str, ...]] = {
    "vebi": ("vebi/an8flower_single_6c", *axes(explainer="random,vebi,vebi/unresampled")),
    "fgvis": ("fgvis/an8flower", *axes(explainer="random,fgvis,fgvis/generation_unfiltered")),
    "siam": (
        *("scenicness", "explained.images=2"),
        *axes(model="siam,scene_regressor", explainer="random,oracle,siam,cam,gradient"),
    ),
}
# For papers with an experiment on settings, two of its explainers.
SETTINGS: dict[str, str] = {"vebi": "vebi,vebi/top_1", "fgvis": "fgvis,fgvis/keep_0.5"}


def variants(folder: str) -> list[Path]:
    return sorted((CONF / "explainer" / folder).glob("*.yaml"))


def different(one: Any, other: Any) -> dict[str, Any]:
    """Return the values of `other` that differ from those of `one`."""
    return {key: other.get(key) for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
