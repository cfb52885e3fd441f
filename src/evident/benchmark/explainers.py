"""Time of every explainer, in forward+backward passes of its network, and speed of the renderer."""

import logging
from functools import partial

import torch
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from evident.benchmark.timing import Row, ratios, row, seconds
from evident.contracts import Fits, ForSomeNetworks, NeedsMask
from evident.data.images import ImageSet, loader
from evident.data.render.flowers import render
from evident.errors import NotApplicable, UserError

log = logging.getLogger("evident")
# Nothing is scored; without these groups Hydra composes a config in half the time.
UNUSED = ["metric=[]", "recorder=[]", "section=[]", "logger=none"]


def rendering(config: DictConfig) -> Row:
    """Return the row of the renderer, in images per second."""
    count = config.benchmark.rendered
    render("single-6c", "benchmark", range(8))  # warm-up
    starts = range(0, count * config.benchmark.repeats, count)
    works = [partial(render, "single-6c", "benchmark", range(start, start + count)) for start in starts]
    return row("render an8flower 112x112", "images per second", [count / seconds(work) for work in works])


def network_and_images(config: DictConfig) -> tuple[nn.Module, Tensor]:
    """Return the configured network, untrained, and a batch of noise (N, 3, size, size)."""
    torch.manual_seed(0)
    network = instantiate(config.model.build, _partial_=True)(classes=config.data.classes).eval()
    network.to(memory_format=torch.channels_last)  # as trained networks are
    return network, torch.rand(config.benchmark.images, 3, config.data.size, config.data.size)


def explainers(config: DictConfig) -> list[Row]:
    """Return one row per explainer; `ForSomeNetworks` run on the first configured network that they support.

    Those that do not apply to the configured network are left out, with a line.
    """
    network, images = network_and_images(config)
    mask = torch.rand(images[:, 0].shape) > 0.5
    one_per_class = (torch.rand(config.data.classes, *images.shape[1:]) * 255).byte()
    names = [str(label) for label in range(len(one_per_class))]
    training_set = ImageSet(one_per_class, torch.arange(len(one_per_class)), names)
    rows = []
    for name in GlobalHydra.instance().config_loader().get_group_options("explainer"):
        try:
            rows.append(_timed(name, config, network, images, mask, training_set))
        except NotApplicable as error:
            log.warning("%s: left out: %s", name, error)
    return rows


def _timed(
    name: str, config: DictConfig, network: nn.Module, images: Tensor, mask: Tensor, training_set: ImageSet
) -> Row:
    """Return the row of one explainer, on this network if it supports it."""
    composed = compose("config", [*_same(config), f"explainer={name}"])
    explained, inputs = network, images
    explainer_class = get_class(composed.explainer.build._target_)
    if issubclass(explainer_class, ForSomeNetworks):
        explained, inputs = network_and_images(_first_supported(explainer_class, config))
    explainer = instantiate(composed.explainer.build, _partial_=True)(explained)
    if isinstance(explainer, Fits):
        explainer.fit(loader(training_set, len(training_set)))
    target = torch.arange(len(inputs)) % explained(inputs[:1]).shape[1]
    if isinstance(explainer, NeedsMask):
        explain = partial(explainer.attribute_mask, inputs, target, mask)
    else:
        explain = partial(explainer.attribute, inputs, target)
    base = partial(_forward_and_backward, explained, inputs, target)
    return row(name, "forward+backward passes", ratios(explain, base, config.benchmark.repeats))


def _forward_and_backward(network: nn.Module, images: Tensor, target: Tensor) -> None:
    inputs = images.clone().requires_grad_()
    torch.autograd.grad(network(inputs).gather(1, target[:, None]).sum(), inputs)


def _first_supported(explainer: type[ForSomeNetworks], config: DictConfig) -> DictConfig:
    """Return the config of the first network, by name, that `explainer` supports, with the data set of this network."""
    for name in GlobalHydra.instance().config_loader().get_group_options("model"):
        own = [
            *("task=benchmark", f"scale={config.scale.name}", f"benchmark.images={config.benchmark.images}"),
            *(f"model={name}", *UNUSED),
        ]
        composed = compose("config", own)
        if OmegaConf.is_missing(composed.model.build, "_target_"):
            continue  # a network of the user
        if explainer.supports(get_class(composed.model.build._target_)):
            return compose("config", [*own, f"data={composed.model.data}"])
    raise UserError(f"{explainer.__name__} supports no network of conf/model; add one")


def _same(config: DictConfig) -> list[str]:
    """Return the overrides that select the scale, data set and network of `config`, to time explainers."""
    return [f"scale={config.scale.name}", f"data={config.data.name}", f"model={config.model.name}", *UNUSED]
