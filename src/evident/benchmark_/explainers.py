"""Speed as ratios within one run: what every explainer costs in forward+backward passes, and how fast flowers grow."""

import logging
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from evident.data.render.flowers import render

log = logging.getLogger("evident")


def run(config: DictConfig) -> None:
    """Print and write results/speed/table.csv: row, value, unit, the repeats' lowest and highest, their number."""
    torch.set_num_threads(config.threads)
    rows = [_rendering(config), *_explainers(config)]
    table = pd.DataFrame(rows, columns=["row", "value", "unit", "lowest", "highest", "repeats"])
    folder = Path(config.paths.results) / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "table.csv", index=False, float_format="%.4g", lineterminator="\n")
    print(table.to_string(index=False, float_format="%.4g"))


Row = tuple[str, float, str, float, float, int]


def _row(name: str, unit: str, values: list[float]) -> Row:
    row = (name, statistics.median(values), unit, min(values), max(values), len(values))
    log.info("%s: %.4g %s", name, row[1], unit)
    return row


def _rendering(config: DictConfig) -> Row:
    count = config.benchmark.rendered
    render("single-6c", "benchmark", range(8))  # warms up
    starts = range(0, count * config.benchmark.repeats, count)
    works = [partial(render, "single-6c", "benchmark", range(start, start + count)) for start in starts]
    rates = [count / _seconds(work) for work in works]
    return _row("render an8flower 112x112", "images per second", rates)


def _explainers(config: DictConfig) -> list[Row]:
    torch.manual_seed(0)
    network = instantiate(config.model.build, _partial_=True)(classes=config.data.classes).eval()
    network.to(memory_format=torch.channels_last)  # as trained networks are
    images = torch.rand(config.benchmark.images, 3, config.data.size, config.data.size)
    target = torch.arange(len(images)) % config.data.classes
    mask = torch.rand(images[:, 0].shape) > 0.5

    def forward_and_backward() -> None:
        inputs = images.clone().requires_grad_()
        torch.autograd.grad(network(inputs).gather(1, target[:, None]).sum(), inputs)

    forward_and_backward()
    rows = []
    for name in GlobalHydra.instance().config_loader().get_group_options("explainer"):
        composed = compose("config", [*_kept(config), f"explainer={name}"])
        explainer = instantiate(composed.explainer.build, _partial_=True)(network)
        further: dict[str, Tensor] = {"mask": mask} if getattr(explainer, "needs_mask", False) else {}
        explainer.attribute(images[:1], target[:1], **{key: value[:1] for key, value in further.items()})  # warms up
        ratios = []
        for _ in range(config.benchmark.repeats):
            # Base and explainer in turn, so that a slow moment of the machine slows both.
            base = min(_seconds(forward_and_backward) for _ in range(3))
            ratios.append(_seconds(partial(explainer.attribute, images, target, **further)) / base)
        rows.append(_row(name, "forward+backward passes", ratios))
    return rows


def _kept(config: DictConfig) -> list[str]:
    return [f"scale={config.scale.name}", f"data={config.data.name}", f"model={config.model.name}"]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
