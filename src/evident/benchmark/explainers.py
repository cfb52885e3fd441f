"""What every explainer costs in forward+backward passes of its network, and how fast flowers grow."""

from functools import partial

import torch
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from evident.benchmark.timing import Row, ratios, row, seconds
from evident.data.images import ImageSet, loader
from evident.data.render.flowers import render
from evident.errors import UserError


def rendering(config: DictConfig) -> Row:
    """Images a second."""
    count = config.benchmark.rendered
    render("single-6c", "benchmark", range(8))  # warms up
    starts = range(0, count * config.benchmark.repeats, count)
    works = [partial(render, "single-6c", "benchmark", range(start, start + count)) for start in starts]
    return row("render an8flower 112x112", "images per second", [count / seconds(work) for work in works])


def network_and_images(config: DictConfig) -> tuple[nn.Module, Tensor]:
    """The configured network, untrained, and a batch of noise (N, 3, size, size) for it."""
    torch.manual_seed(0)
    network = instantiate(config.model.build, _partial_=True)(classes=config.data.classes).eval()
    network.to(memory_format=torch.channels_last)  # as trained networks are
    return network, torch.rand(config.benchmark.images, 3, config.data.size, config.data.size)


def explainers(config: DictConfig) -> list[Row]:
    """A row an explainer; those that explain one kind of network alone, on the first configured one of that kind."""
    network, images = network_and_images(config)
    mask = torch.rand(images[:, 0].shape) > 0.5
    one_a_class = (torch.rand(config.data.classes, *images.shape[1:]) * 255).byte()
    training_set = ImageSet(one_a_class, torch.arange(len(one_a_class)), [str(n) for n in range(len(one_a_class))])
    rows = []
    for name in GlobalHydra.instance().config_loader().get_group_options("explainer"):
        composed = compose("config", [*_kept(config), f"explainer={name}"])
        explained, shown = network, images
        if (kind := getattr(get_class(composed.explainer.build._target_), "explains", None)) is not None:
            explained, shown = network_and_images(_first_of(kind, config))
        explainer = instantiate(composed.explainer.build, _partial_=True)(explained)
        if hasattr(explainer, "fit"):
            explainer.fit(loader(training_set, len(training_set)))
        target = torch.arange(len(shown)) % explained(shown[:1]).shape[1]
        further: dict[str, Tensor] = {"mask": mask} if getattr(explainer, "needs_mask", False) else {}
        explain = partial(explainer.attribute, shown, target, **further)
        base = partial(_forward_and_backward, explained, shown, target)
        rows.append(row(name, "forward+backward passes", ratios(explain, base, config.benchmark.repeats)))
    return rows


def _forward_and_backward(network: nn.Module, images: Tensor, target: Tensor) -> None:
    inputs = images.clone().requires_grad_()
    torch.autograd.grad(network(inputs).gather(1, target[:, None]).sum(), inputs)


def _first_of(kind: type, config: DictConfig) -> DictConfig:
    """The config of the first network, by name, of that kind, with the data set that it is for."""
    for name in GlobalHydra.instance().config_loader().get_group_options("model"):
        own = [
            "task=benchmark",
            f"scale={config.scale.name}",
            f"benchmark.images={config.benchmark.images}",
            f"model={name}",
        ]
        composed = compose("config", own)
        if issubclass(get_class(composed.model.build._target_), kind):
            return compose("config", [*own, f"data={composed.model.data}"])
    raise UserError(f"no file in conf/model is of {kind.__name__}, which an explainer explains alone; add one")


def _kept(config: DictConfig) -> list[str]:
    return [f"scale={config.scale.name}", f"data={config.data.name}", f"model={config.model.name}"]
