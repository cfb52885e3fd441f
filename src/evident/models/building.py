"""Networks as their configs say: built, and given the weights that are stored, published, or in a file of the user."""

import inspect
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from safetensors.torch import load_file
from torch import nn

from evident.errors import UserError
from evident.models.checkpoint import OwnNetwork, is_file, load_state, read_state
from evident.models.hugging_face import HuggingFaceClassifier
from evident.models.pretrained import TimmClassifier, load_weights


def network_of(config: DictConfig) -> nn.Module:
    """Build the network of a config, with initial weights, for the classes of its data set."""
    network = _built(config)
    if (own := config.model.get("own")) is not None:
        network = OwnNetwork(network, config.data.classes, **own)
    # Two to four times as fast on a CPU as the default layout.
    return network.to(memory_format=torch.channels_last)


def _built(config: DictConfig) -> nn.Module:
    """Build the network; one of the user may call its number of classes otherwise, or know it on its own."""
    make = instantiate(config.model.build, _partial_=True)
    accepted = inspect.signature(make.func).parameters
    count = next((name for name in ("classes", "num_classes") if name in accepted), None)
    if config.model.get("own") is None or (count is not None and count not in config.model.build):
        return make(**{count or "classes": config.data.classes})
    return make()


def stored(config: DictConfig, folder: Path) -> nn.Module:
    """Return the trained network of a folder of the store."""
    network = network_of(config)
    network.load_state_dict(load_file(folder / "network.safetensors"))
    return network.eval()


def published(config: DictConfig) -> nn.Module:
    """Return the network with published weights, or those of the user's file; raise `UserError` if they do not fit."""
    with torch.random.fork_rng():
        torch.manual_seed(0)  # so that random weights are always the same
        network: Any = network_of(config)
    weights = config.model.weights
    if is_file(weights):
        load_state(network.network, read_state(Path(weights)), weights)
    else:
        load_weights(network, weights, Path(config.paths.data))
    network.eval()
    if isinstance(network, OwnNetwork):
        network.check(config.data.size)
    elif isinstance(network, TimmClassifier | HuggingFaceClassifier):
        _ask_for_size(network, config.data.size)
    return network


@torch.no_grad()
def _ask_for_size(network: TimmClassifier | HuggingFaceClassifier, size: int) -> None:
    """Raise `UserError` unless the network accepts images of `size` pixels: transformers have a size of their own."""
    try:
        network(torch.full((1, 3, size, size), 0.5))
    except Exception as error:  # libraries raise anything
        raise UserError(
            f"{network.architecture} does not accept images of {size} x {size} pixels "
            f"({' '.join(str(error).split())[:200]}); set data.size"
        ) from error
