"""Networks with random weights in some of their layers, for the question whether an explanation depends on them.

The weights of a layer are permuted, each parameter tensor by itself. The layer then has the same numbers as before, so
its signals keep their size, but nothing that was learnt about where they belong. New numbers from the initialiser would
be of another size than trained ones, and a map could change for that reason alone. A tensor of equal numbers holds
nothing to permute, and stays.

Running statistics of a batch normalisation describe the signals of the trained network. Behind random weights they are
wrong by any factor, which leaves channels dead. So those behind the first random layer are measured again, on training
images: the network is in the state that training would leave it in. They must not be measured on the explained images,
because a score would then depend on its batch.
"""

import hashlib
from collections.abc import Callable, Collection
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from evident.errors import UserError


def weighted_layers(model: nn.Module) -> list[list[str]]:
    """Return the names of the parameters of each layer, from input to output.

    A layer is a module with a weight of two or more axes, such as a convolution, and the modules without one that
    follow, such as its normalisation. The order is that in which the network defines its modules. Raises `UserError`
    for a network without such weights.
    """
    sizes = {name: parameter.dim() for name, parameter in model.named_parameters()}
    owners = {_owner(name) for name, axes in sizes.items() if axes > 1}
    if not owners:
        raise UserError(
            f"{type(model).__name__} has no layers with weights, so nothing can be randomised; leave out the metrics "
            "that randomise weights"
        )
    layers: list[list[str]] = []
    early: list[str] = []  # parameters before the first layer belong to it
    last = None
    for name in sizes:
        owner = _owner(name)
        if owner in owners and owner != last:
            layers.append(early if not layers else [])
        (layers[-1] if layers else early).append(name)
        last = owner
    return layers


def randomised(
    model: nn.Module, layers: Collection[int], seed: int = 0, training_images: Callable[[], Tensor] | None = None
) -> nn.Module:
    """Return a copy of `model` in eval mode whose `layers`, by their positions in `weighted_layers`, are permuted.

    A permutation depends on `seed` and the name of the parameter only. `training_images()` (M, 3, H, W) is called for
    networks with batch normalisation. The model itself is not changed. Raises `UserError` if such a network has no
    training images, and for a network without weights.
    """
    names = [name for position, layer in enumerate(weighted_layers(model)) if position in layers for name in layer]
    copy = deepcopy(model).eval()
    parameters = dict(copy.named_parameters())
    with torch.no_grad():
        for name in names:
            parameters[name].copy_(_permuted(parameters[name], f"{seed} {name}"))
    _measure_statistics(copy, {_owner(name) for name in names}, training_images)
    return copy


def _owner(parameter: str) -> str:
    """Return the name of the module that holds a parameter."""
    return parameter.rpartition(".")[0]


def _permuted(values: Tensor, key: str) -> Tensor:
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1
    order = torch.randperm(values.numel(), generator=torch.Generator().manual_seed(number))
    return values.flatten()[order.to(values.device)].view(values.shape)


def _measure_statistics(
    model: nn.Module, changed: Collection[str], training_images: Callable[[], Tensor] | None
) -> None:
    """Measure the running statistics of the first module in `changed` and of all behind it again."""
    modules = dict(model.named_modules())
    first = min(map(list(modules).index, changed), default=len(modules))
    behind = [module for module in list(modules.values())[first:] if isinstance(module, _BatchNorm)]
    norms = [module for module in behind if module.track_running_stats]
    if not norms:
        return
    if training_images is None:
        raise UserError(
            f"{type(model).__name__} has batch normalisations, whose statistics random weights change; give training "
            "images to measure them again"
        )
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the average over all images, not a moving one
        norm.train()
    with torch.no_grad():
        model(training_images())
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
