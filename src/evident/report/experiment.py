"""The input of a report: the finished cells of an experiment, and their scores in one table."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from hydra.utils import get_method
from omegaconf import DictConfig

from evident.cell_folder import DIRECTIONS, NETWORK, SAMENESS, SCORES, CellFolder
from evident.data.loading import base_config
from evident.metrics.contract import needs_of
from evident.report.audit import audited
from evident.report.tables.order import leading
from evident.report.tables.titles import title_of

# Entries of NETWORK that describe a network in tables and provenance.
DESCRIBED = ("hash", "accuracy", "weights")
# Overrides that change nothing in the results, and neither does a second report.
IRRELEVANT = ("paths.", "task=report", "logger", "hydra", "gallery=")


@dataclass(frozen=True)
class Cell:
    """A finished cell: its config and its files."""

    config: DictConfig
    folder: CellFolder

    @cached_property
    def labels(self) -> dict[str, Any]:
        """Explainer, data, model and seed: the first columns of every table."""
        config = self.config
        names = {"explainer": config.row, "data": config.data.name, "model": config.model.name}
        return {**names, "seed": config.seed}

    @property
    def title(self) -> str:
        """The explainer's name as tables and figures show it: the `title` of its config, or its name in words."""
        name, row = str(self.config.explainer.name), str(self.config.row)
        if row.startswith(name):
            return f"{self.method}{row.removeprefix(name)}"  # a row may add a budget to the name
        return title_of(row)

    @property
    def method(self) -> str:
        """The same without what the row adds, such as a budget: for tables of which that is another column."""
        explainer = self.config.explainer
        return str(explainer.get("title") or title_of(explainer.name))

    @property
    def name(self) -> str:
        """Data, model, explainer and seed as one line."""
        labels = self.labels
        return f"{labels['data']} {labels['model']} {labels['explainer']} seed {labels['seed']}"

    @property
    def budget(self) -> str | None:
        """What an explainer that samples or optimises may spend per image, such as `500 masks`; None for others."""
        budget: str | None = self.config.explainer.get("budget")
        return budget

    @property
    def reference_row(self) -> bool:
        """Whether the explainer is a reference (random, centre, edges, oracle), which does not compete."""
        return bool(self.config.explainer.get("reference_row"))


@dataclass(frozen=True)
class Network:
    """The cells of one data set and model; `suffix` distinguishes the names of their figures if there are several."""

    data: str
    model: str
    suffix: str
    cells: Sequence[Cell]

    def first_seed(self) -> list[Cell]:
        """Return the cells of the lowest seed."""
        lowest = min(cell.config.seed for cell in self.cells)
        return [cell for cell in self.cells if cell.config.seed == lowest]


class Experiment:
    """The cells of an experiment in the order of its tables, whatever the order in which they were computed.

    Data sets and models keep the order of the sweep; explainers are sorted by name, references after the methods.
    `audits` are known where the networks are not in the store. `overrides` are those of the command.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        audits: Sequence[dict[str, Any]] | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        networks = list(dict.fromkeys((cell.labels["data"], cell.labels["model"]) for cell in cells))

        def position(cell: Cell) -> tuple[Any, ...]:
            labels = cell.labels
            place = networks.index((labels["data"], labels["model"]))
            return place, cell.reference_row, labels["explainer"], labels["seed"]

        self.cells = sorted(cells, key=position)
        self.config = self.cells[0].config
        self._audits, self._overrides = audits, overrides

    @property
    def command(self) -> str:
        """The command that gives the same results: without paths, loggers, launchers and other ways of reporting."""
        relevant = [
            shlex.quote(given)
            for given in self._overrides
            if given.startswith("hydra.searchpath") or not given.startswith(IRRELEVANT)
        ]
        return " ".join(["python run.py", *relevant])

    @cached_property
    def scores(self) -> pd.DataFrame:
        """All scores of all cells, as `cell_folder.SCORES` describes them, and a column `network`, its hash.

        The `leading_scores` of the experiment come first in each cell. Without those that need masks of networks that
        do not use what the masks mark, or were not audited.
        """
        first = self.config.get("leading_scores") or ()
        parts = [
            leading(cell.folder.read(SCORES), first).assign(network=cell.folder.read(NETWORK)["hash"])
            for cell in self.cells
        ]
        scores = pd.concat(parts, ignore_index=True)
        if not self.failed:
            return scores
        named = {name for cell in self.cells for name, build in cell.config.metric.items() if _needs_mask(build)}
        hidden = scores["network"].isin(self.failed) & scores["metric"].str.startswith(tuple(named))
        return scores[~hidden].reset_index(drop=True)

    def scores_of(self, cell: Cell) -> pd.DataFrame:
        """Return the rows of `scores` that belong to a cell."""
        chosen = pd.Series(True, self.scores.index)
        for name, label in cell.labels.items():
            chosen &= self.scores[name] == label
        return self.scores[chosen]

    @cached_property
    def failed(self) -> set[str]:
        """The hashes of networks that did not pass their audit: no number of theirs may depend on masks."""
        return {row["network"] for row in self.audits if not row["passed"]}

    @cached_property
    def audits(self) -> list[dict[str, Any]]:
        """What each network uses, as `report.audit.audited` describes it, where the scale asks for it."""
        if self._audits is not None:
            return list(self._audits)
        found: dict[str, dict[str, Any]] = {}
        fixed: set[str] = set()  # data sets whose evidence cannot be changed
        for cell in self.cells:
            name, data = cell.folder.read(NETWORK)["hash"], cell.labels["data"]
            if name in found or data in fixed or not cell.config.scale.get("audit"):
                continue
            if row := audited(cell.config):
                found[name] = {**row, "network": name}
            else:
                fixed.add(data)
        return list(found.values())

    @cached_property
    def directions(self) -> dict[str, str]:
        """Whether higher or lower is better, or neither, by score."""
        found: dict[str, str] = {}
        for cell in self.cells:
            directions = cell.folder.read(DIRECTIONS)
            found.update(directions)
        return found

    @cached_property
    def budgets(self) -> dict[str, str]:
        """What each explainer with a budget was given, such as `500 masks`; several values if cells differ."""
        found: dict[str, list[str]] = {}
        for cell in self.cells:
            if (budget := cell.budget) and budget not in found.setdefault(cell.labels["explainer"], []):
                found[cell.labels["explainer"]].append(budget)
        return {explainer: " or ".join(budgets) for explainer, budgets in found.items()}

    @cached_property
    def references(self) -> set[str]:
        """The names of the explainers that are reference rows."""
        return {cell.labels["explainer"] for cell in self.cells if cell.reference_row}

    @cached_property
    def titles(self) -> dict[str, str]:
        """How tables and figures name each explainer (`titles_of`)."""
        return titles_of(self.cells)

    @cached_property
    def sameness(self) -> pd.DataFrame:
        """Mean correlation of the heatmaps of two images and share of constant heatmaps, by cell that keeps them."""
        known = [(cell.labels, cell.folder.get(SAMENESS)) for cell in self.cells]
        columns = ["explainer", "data", "model", "seed", "correlation", "constant"]
        return pd.DataFrame([{**labels, **values} for labels, values in known if values], columns=columns)

    def networks(self, cells: Sequence[Cell] | None = None) -> Iterator[Network]:
        """Yield the cells of each data set and model; of all cells, or of `cells` if given."""
        chosen = self.cells if cells is None else cells
        pairs = list(dict.fromkeys((cell.labels["data"], cell.labels["model"]) for cell in chosen))
        for data, model in pairs:
            own = [cell for cell in chosen if (cell.labels["data"], cell.labels["model"]) == (data, model)]
            yield Network(data, model, "" if len(pairs) == 1 else f"_{data}_{model}", own)

    @cached_property
    def attribute_names(self) -> dict[str, Sequence[str]]:
        """The attributes of every data set that names them."""
        described = {str(cell.labels["data"]): cell.folder.read(NETWORK) for cell in self.cells}
        return {data: network["attributes"] for data, network in described.items() if "attributes" in network}

    @cached_property
    def network_facts(self) -> list[dict[str, Any]]:
        """Data, model, seed, hash, accuracy and weights of every network."""
        found = {}
        for cell in self.cells:
            network = cell.folder.read(NETWORK)
            described = {name: network[name] for name in DESCRIBED if name in network}
            names = {"data": base_config(cell.config).data.name, "model": cell.config.model.name}
            # Published weights do not depend on a seed.
            seed = {} if "weights" in network else {"seed": cell.config.network_seed}
            found[network["hash"]] = {**names, **seed, **described}
        return list(found.values())


def titles_of(cells: Sequence[Cell]) -> dict[str, str]:
    """Return how tables and figures name each explainer: by its title, or in words if two explainers have one title."""
    titles = {str(cell.labels["explainer"]): cell.title for cell in cells}
    shared = {title for title in titles.values() if list(titles.values()).count(title) > 1}
    return {name: title_of(name) if title in shared else title for name, title in titles.items()}


def _needs_mask(build: DictConfig) -> bool:
    return "mask" in needs_of(get_method(build._target_))
