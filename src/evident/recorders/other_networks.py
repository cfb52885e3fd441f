"""What metrics need to explain other networks: how to rebuild the explainer, and the networks."""

import logging
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from captum.attr import Attribution
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from evident import store
from evident.contracts import Fits
from evident.data.images import loader
from evident.data.loading import load_data
from evident.errors import UserError
from evident.explainers.shared.learning import learn
from evident.metrics.contract import Need
from evident.models.precision import FULL, PLAIN
from evident.models.training import NetworkSpec, Trained, format_measures, trained
from evident.recorders.contract import Setup

TRAINING_IMAGES = 32  # on which statistics of random networks are measured
# Every cell of a sweep compares with the same networks.
log_once = cache(logging.getLogger("evident").info)


def other_networks(config: DictConfig, setup: Setup, needed: Collection[Need]) -> dict[str, Any]:
    """Return those fields of an `Explanation` by name; the networks are trained only if a metric needs them.

    The twin of a network of seed s has the seed s ^ 1, so that pairs of an even number of networks need no others. The
    network of shuffled labels has the same seed, and so the same initial weights; `config.shuffled` is its data set.
    """
    train = cache(lambda: setup.splits().split("train"))
    first = cache(lambda: next(iter(loader(train(), TRAINING_IMAGES)))["image"])
    found: dict[str, Any] = {"training_images": first}
    origins: dict[nn.Module, Origin] = {}
    for kind, find in (("twin", _twin), ("shuffled", _shuffled)):
        if kind in needed:
            network, origin = find(config)
            found[kind], origins[network] = network, origin
    if "rebuild" in needed and setup.explained_in != PLAIN:
        raise UserError(
            f"precision={setup.explained_in.precision} does not reach other networks, which metrics such as "
            f"randomisation explain; leave them out, or use precision={FULL} compile=false"
        )
    return {**found, "rebuild": partial(_rebuild, config, train, origins)}


class Origin(NamedTuple):
    """Hold the training set of a network, on demand, and the identity of its training."""

    training_set: Callable[[], Any]
    identity: store.Identity


def _rebuild(
    config: DictConfig, train: Callable[[], Any], origins: Mapping[nn.Module, Origin], network: nn.Module
) -> Attribution:
    """Build the explainer of a cell for another network; what it learns is stored for networks with an origin."""
    explainer: Attribution = instantiate(config.explainer.build, _partial_=True)(network)
    if network in origins:
        learn(explainer, origins[network].training_set, Path(config.paths.store), origins[network].identity)
    elif isinstance(explainer, Fits):
        explainer.fit(loader(train(), 64))
    return explainer


def _trained(config: DictConfig) -> tuple[Trained, Origin]:
    """Return the network of a config, and where it comes from."""
    spec = NetworkSpec.of(config)
    found = trained(spec, [])
    found.network.eval()
    return found, Origin(cache(lambda: load_data(config).split("train")), spec.identity)


def _twin(config: DictConfig) -> tuple[nn.Module, Origin]:
    """Return the network that differs by its seed alone."""
    if NetworkSpec.of(config).published:
        raise UserError(
            f"{config.model.name} has published weights, so there is no twin that was trained from another seed; leave "
            "out the metrics that need one"
        )
    other = OmegaConf.merge(config, {"network_seed": config.network_seed ^ 1})
    assert isinstance(other, DictConfig)
    found, origin = _trained(other)
    return found.network, origin


def _shuffled(config: DictConfig) -> tuple[nn.Module, Origin]:
    """Return the network that was trained on shuffled labels."""
    if "shuffled" not in config:
        raise UserError(
            "the data set with shuffled labels is not named; add one of conf/data, such as "
            "+data@shuffled=mnist_shuffled, or leave out the metrics that need it"
        )
    other = config.copy()
    other.data = config.shuffled
    if NetworkSpec.of(other).published:
        raise UserError(
            f"{config.model.name} has published weights, which were not trained on shuffled labels; leave out the "
            "metrics that need such a network"
        )
    found, origin = _trained(other)
    log_once(f"compared with a network trained on {other.data.name}: {format_measures(found.accuracy)}")
    return found.network, origin
