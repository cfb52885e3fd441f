"""The config of one cell, resolved once: its network, explainer and recorders, and its identity."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from evident import store
from evident.contracts import ForSomeNetworks
from evident.errors import UserError
from evident.metrics.contract import forward_only
from evident.models.precision import PLAIN, Passes
from evident.models.training import NetworkSpec, arithmetic, plain

CELL_FORMAT = 5  # increase it when the same config would give other scores or files
PLUG_INS = ("metric", "recorder", "section")  # groups of which a cell has any number


@dataclass(frozen=True)
class Request:
    """One cell: (data, model, explainer, seed), with the network that it needs and the products that it records.

    `unused` are the plug-ins of which the config has settings only; `config` has them no more. An experiment sets
    `section.gallery.networks`; with `section=[scores]` there is no gallery.

    Raises `UserError` for a seed, a number of threads or of images, a split, or a precision that is out of range.
    """

    config: DictConfig
    unused: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "unused", _unused(self.config))
        object.__setattr__(self, "config", _without(self.config, self.unused))
        lowest_of = {"seed": 0, "network_seed": 0, "threads": 1, "explained.batch_size": 1, "explained.images": 1}
        for key, lowest in lowest_of.items():
            value = OmegaConf.select(self.config, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
                raise UserError(f"{key}={value} is not a whole number of {lowest} or more")
        if self.config.explained.split not in ("test", "val"):
            raise UserError(f"explained.split={self.config.explained.split} is unknown; use test or val")
        if not isinstance(self.config.compile, bool):
            raise UserError(f"compile={self.config.compile} is unknown; use true or false")
        _ = self.passes

    @cached_property
    def network(self) -> NetworkSpec:
        """The network that is explained."""
        return NetworkSpec.of(self.config)

    @property
    def root(self) -> Path:
        """The folder of all artefacts."""
        return Path(self.config.paths.store)

    @cached_property
    def labels(self) -> dict[str, Any]:
        """Experiment, data, model, explainer and seed: the first columns of every score."""
        config = self.config
        names = {"data": config.data.name, "model": config.model.name, "explainer": config.row}
        return {"experiment": config.experiment, **names, "seed": config.seed}

    @property
    def name(self) -> str:
        """Data, model, explainer and seed as one line."""
        labels = self.labels
        return f"{labels['data']} {labels['model']} {labels['explainer']} seed {labels['seed']}"

    @property
    def explainer(self) -> type:
        """The class of the explainer, or the function that builds it."""
        return get_object(self.config.explainer.build._target_)

    @property
    def applies(self) -> bool:
        """Whether the cell belongs to its experiment: the axes of a sweep also combine what does not belong together.

        An explainer may support networks of one kind only; `explainers_by_model`, `left_out_by_model` and
        `seeds_by_model` restrict the explainers and seeds of a network. If the seed of the network is fixed, an
        explainer without a seed of its own has a single cell. A data set of `metrics_by_data` has none if its metrics
        are not among those asked for.
        """
        config, explainer = self.config, self.explainer
        network = get_object(config.model.build._target_)
        network = network if isinstance(network, type) else nn.Module  # a function of the user
        if config.seed != config.network_seed and "seed" not in config.explainer.build:
            return False
        if config.data.name in config.metrics_by_data and not self.metrics:
            return False
        model, name = config.model.name, config.explainer.name
        if name in config.left_out_by_model.get(model, ()) or config.seed not in config.seeds_by_model.get(
            model, [config.seed]
        ):
            return False
        kind = explainer if isinstance(explainer, type) else object
        supported = not issubclass(kind, ForSomeNetworks) or kind.supports(network)
        return supported and name in config.explainers_by_model.get(model, [name])

    @cached_property
    def recorders(self) -> Mapping[str, DictConfig]:
        """The configured recorders that apply to the explainer, by name."""
        configured = self.config.get("recorder") or {}
        return {name: build for name, build in configured.items() if get_object(build._target_).applies(self.explainer)}

    @cached_property
    def metrics(self) -> Mapping[str, DictConfig]:
        """The configured metrics of the data set, by name: those `metrics_by_data` lists for it, else all unlisted.

        Without those that leave out the explainer (`left_out_by_metric`).
        """
        config = self.config
        configured, by_data = config.get("metric") or {}, config.metrics_by_data
        listed = {name for names in by_data.values() for name in names}
        chosen = by_data.get(config.data.name, set(configured) - listed)
        without = {name for name, left_out in config.left_out_by_metric.items() if config.explainer.name in left_out}
        return {str(name): build for name, build in configured.items() if name in chosen and name not in without}

    @cached_property
    def passes(self) -> Passes:
        """How passes without gradients are computed: `precision` and `compile`."""
        return Passes(self.config.precision, self.config.compile)

    @property
    def explained_in(self) -> Passes:
        """How the explainer's passes are computed: as `passes` if its file says that it needs no gradient."""
        return self.passes if self.config.explainer.get("forward_only") else PLAIN

    @cached_property
    def identity(self) -> store.Identity:
        """All settings that determine the scores and files of the cell, and no others."""
        config = self.config
        labels = self.labels
        # The identity of a trained network includes device and threads; published weights are the same everywhere.
        further = {"arithmetic": arithmetic(config)} if self.network.published else {}
        # A data set that is made from the network's own data set is not part of the network's identity.
        made = {"data": plain(config.data)} if "base" in config.data else {}
        # A data set with shuffled labels, for metrics that compare with a network that learnt them.
        shuffled = {"shuffled": plain(config.shuffled)} if "shuffled" in config else {}
        return {
            "format": CELL_FORMAT,
            "experiment": config.experiment,
            "names": {name: labels[name] for name in ("data", "model", "explainer")},
            "network": self.network.identity,
            **further,
            **made,
            **shuffled,
            **self._other_passes(),
            "explainer": plain(config.explainer.build),
            "metric": {name: plain(metric) for name, metric in self.metrics.items()},
            "explained": plain(config.explained),
            "recorder": {name: plain(build) for name, build in self.recorders.items()},
            "seed": config.seed,
        }

    def _other_passes(self) -> store.Identity:
        """Return what is compiled or in a lower precision; nothing if no pass is, whatever the config says."""
        if self.passes == PLAIN:
            return {}
        metrics = [name for name, metric in self.metrics.items() if forward_only(get_object(metric._target_))]
        found = {"explainer": self.explained_in != PLAIN, "metric": metrics}
        passes = {"passes": self.passes.precision, **({"compiled": True} if self.passes.compiled else {})}
        return {"precision": {**passes, **found}} if any(found.values()) else {}

    @cached_property
    def folder(self) -> Path:
        """The folder of the cell, whether it is finished or not."""
        return store.location(self.root, "cells", self.identity)


def search_path(overrides: Iterable[str]) -> list[str]:
    """Return those of Hydra's overrides that add folders of configs; `compose` needs them again."""
    return [given for given in overrides if given.startswith("hydra.searchpath")]


def _unused(config: DictConfig) -> list[str]:
    builds = {f"{group}.{name}": build for group in PLUG_INS for name, build in (config.get(group) or {}).items()}
    return [key for key, build in builds.items() if not (isinstance(build, DictConfig) and "_target_" in build)]


def _without(config: DictConfig, keys: Sequence[str]) -> DictConfig:
    if not keys:
        return config
    config = config.copy()
    with open_dict(config):
        for key in keys:
            group, name = key.split(".")
            del config[group][name]
    return config
