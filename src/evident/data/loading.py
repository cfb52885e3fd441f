"""The data set that a config names, and the data set that it is made from."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from evident.contracts import Splits


def base_config(config: DictConfig) -> DictConfig:
    """Return the config with the data set that the network belongs to.

    That is `config` itself, unless its data set is made from the images of another one, its `base`.
    """
    if "base" not in config.data:
        return config
    own = config.copy()
    own.data = own.data.base
    return own


def load_data(config: DictConfig) -> Splits:
    """Load the configured data set; one with a `base` or an `original` is built from the splits of that one.

    Networks of a `base` explain the images that are made from it; a data set with an `original` has its own networks.
    """
    build = instantiate(config.data.build, _partial_=True)
    if "base" in config.data:
        return build(load_data(base_config(config)))
    if "original" in config.data:
        own = config.copy()
        own.data = own.data.original
        return build(load_data(own))
    return build(root=Path(config.paths.data), store=Path(config.paths.store))
