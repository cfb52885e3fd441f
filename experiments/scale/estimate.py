"""Estimate what every photograph of ImageNet's validation set would cost under every explainer and network.

    python experiments/scale/estimate.py              prints the tables of docs/scale.md
    python experiments/scale/estimate.py --measure    times the networks first, with one thread, into forward.csv
    python experiments/scale/estimate.py --count      counts the passes of explainers first, into passes.csv

A cell takes its passes times the seconds of a pass. Passes are those of `experiment=imagenet scale=day`: each explainer
is counted on one photograph, with published weights, and metrics are counted on a small network. Seconds are processor
seconds of one thread of a CPU, for passes in bfloat16 where the experiment computes in bfloat16, and in float32 with or
without a gradient. What is computed between the passes is not in the estimate.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from evident.cell import load
from evident.cli import composed
from evident.data.images import loader
from evident.errors import NotApplicable
from evident.metrics.contract import Explanation, forward_only
from evident.metrics.cost import Cost
from evident.models.building import network_of
from evident.models.flower_net import FlowerNet
from evident.models.precision import FULL, Passes, passes_in
from evident.recorders.explain import explain_batch, target_of
from evident.request import Request

ROOT = Path(__file__).parents[2]
FORWARD, PASSES = (Path(__file__).with_name(name) for name in ("forward.csv", "passes.csv"))
EXPERIMENT = ("experiment=imagenet", "scale=day")
HALF, GRADIENT = "bf16-mixed", "gradient"  # columns of forward.csv beside FULL; a gradient includes its forward pass
# Networks whose passes are counted for all others; Score-CAM passes once for each channel, so it has counts of its own.
COUNTED = ("squeezenet1_1", "vit_tiny_patch16_224")
BY_CHANNELS = "score_cam"
IMAGES = 50_000
WORKERS = (1, 8, 64)
RATES = (500, 1000, 2000, 4000)  # passes per second, of a GPU that nobody has measured
DAY = 24 * 60 * 60


def settings() -> DictConfig:
    """Return the config of the experiment; it reads no data."""
    return composed(*EXPERIMENT, "paths.data=none")


def networks() -> list[str]:
    """Return the networks of the experiment."""
    return str(settings().scale.data.imagenet.networks).split(",")


def explainers() -> list[str]:
    """Return the explainers of the experiment."""
    return [file.stem for file in sorted((ROOT / "conf" / "explainer").glob("*.yaml")) if file.stem != "vebi"]


def request_of(network: str, explainer: str, *further: str) -> Request:
    """Return the request of the first block of an explainer and a network."""
    return Request(composed(*EXPERIMENT, f"model={network}", f"explainer={explainer}", "seed=0", *further))


def measure(names: list[str], batch: int = 16, rounds: int = 5) -> pd.DataFrame:
    """Return the processor seconds (networks x FULL, HALF, GRADIENT) of a pass per image of 224x224, with one thread.

    The least of several rounds, because other processes only add to it. Weights do not matter, so they are random.
    """
    torch.set_num_threads(1)
    images = torch.rand(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    built = {name: built_like_cells(name) for name in names}
    found: dict[tuple[str, str], float] = {}
    for _ in range(rounds):
        for name, network in built.items():
            for kind in (FULL, HALF, GRADIENT):
                start = time.process_time()
                _pass(network, images, kind)
                seconds = (time.process_time() - start) / batch
                found[name, kind] = min(seconds, found.get((name, kind), seconds))
    return pd.Series(found).unstack()[[FULL, HALF, GRADIENT]].loc[names]


def built_like_cells(name: str) -> nn.Module:
    """Return a network of the experiment with random weights, in the memory format in which cells have it."""
    return network_of(request_of(name, "gradient", "paths.data=none").config).eval()


def _pass(network: nn.Module, images: torch.Tensor, kind: str) -> None:
    if kind == GRADIENT:
        images = images.clone().requires_grad_()
        torch.autograd.grad(network(images).amax(1).sum(), images)
        return
    with torch.no_grad(), passes_in(network, Passes(kind)):
        network(images)


def count() -> pd.DataFrame:
    """Return forward and backward passes per image of every explainer on the networks COUNTED, and of Score-CAM on all.

    Explainers that do not apply to a network have no row. Reads photographs and weights of EVIDENT_DATA.
    """
    rows = []
    for network in networks():
        for explainer in explainers() if network in COUNTED else [BY_CHANNELS]:
            request = request_of(network, explainer, "explained.images=1")
            if not request.applies:
                continue
            try:
                setup, _ = load(request, [])
                batch = next(iter(loader(setup.images, 1)))
                target = target_of("predicted", setup.network.network, batch, 0)
                explained = explain_batch(
                    setup.explainer, setup.network.network.eval(), batch, target, passes=request.explained_in
                )
            except NotApplicable as error:
                print(f"{network}, {explainer}: left out: {error}")
                continue
            passes = [explained.cost[f"{kind}_passes"] for kind in ("forward", "backward")]
            rows.append((network, explainer, *passes))
            print(*rows[-1], flush=True)
    return pd.DataFrame(rows, columns=["model", "explainer", "forward", "backward"])


def passes_of_metrics(request: Request) -> int:
    """Return the forward passes of all metrics that take no gradient, counted on a small image and network."""
    network, images = FlowerNet(classes=2).eval(), torch.rand(1, 3, 32, 32)
    explanation = Explanation(images, torch.tensor([0]), torch.rand(1, 32, 32), None, network)
    built = [instantiate(metric) for metric in request.metrics.values()]
    with Cost(network) as cost:
        for metric in built:
            if forward_only(metric):
                metric(explanation)
    return cost.forward_passes


def passes_of(request: Request, counted: pd.DataFrame, scored: int) -> Mapping[str, float] | None:
    """Return the passes per image of a cell by kind, FULL, HALF and GRADIENT; None if it is not in the experiment.

    `counted` are the rows of `count`, `scored` the passes of the metrics. Stability explains again for each of its
    draws, where the experiment has it.
    """
    network, explainer = request.config.model.name, request.config.explainer.name
    like = network if explainer == BY_CHANNELS or network in COUNTED else COUNTED[0]
    if not request.applies or (like, explainer) not in counted.index:
        return None
    forward, backward = counted.loc[(like, explainer), ["forward", "backward"]]
    stability: Any = request.metrics.get("stability")
    times = 1 + (stability.draws if stability is not None else 0)
    gradient, plain = times * min(forward, backward), times * max(forward - backward, 0)
    half = request.passes.precision == HALF
    explained_half = half and request.explained_in.precision == HALF
    found = {FULL: 0.0, HALF: 0.0, GRADIENT: float(gradient)}
    found[HALF if explained_half else FULL] += plain
    found[HALF if half else FULL] += scored
    return found


def all_passes(counted: pd.DataFrame, scored: int) -> pd.DataFrame:
    """Return the passes per image (cells of one block x kinds) of the experiment, by model and explainer."""
    rows = {}
    for network in networks():
        for explainer in explainers():
            passes = passes_of(request_of(network, explainer, "paths.data=none"), counted, scored)
            if passes is not None:
                rows[network, explainer] = passes
    return pd.DataFrame(rows).T.rename_axis(["model", "explainer"])


def seconds_of(passes: pd.DataFrame, forward: pd.DataFrame) -> pd.Series:
    """Return the seconds per image of each cell: its passes of each kind times their seconds on its network."""
    return (passes * forward.loc[passes.index.get_level_values("model")].to_numpy()).sum(axis=1)


def whole(durations: list[float], workers: int) -> float:
    """Return when the last of several workers ends that take whole cells, the longest first."""
    busy = [0.0] * workers
    for duration in sorted(durations, reverse=True):
        first = busy.index(min(busy))
        busy[first] += duration
    return max(busy)


def tables() -> str:
    """Return the tables and sentences of docs/scale.md."""
    forward = pd.read_csv(FORWARD, index_col="model")
    scored = passes_of_metrics(request_of(networks()[0], "gradient", "paths.data=none"))
    passes = all_passes(pd.read_csv(PASSES, index_col=["model", "explainer"]), scored)
    seconds = seconds_of(passes, forward)
    days = seconds * IMAGES / DAY
    block = settings().explained.images
    units = passes[[FULL, HALF]].sum(axis=1) + 2 * passes[GRADIENT]  # a gradient is a forward and a backward pass
    lines = [
        "| network | forward, ms | in bfloat16, ms | with gradient, ms | explainers | passes of an image | "
        "longest block, minutes | all blocks, core-days |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in networks():
        own, rates = seconds[name], 1000 * forward.loc[name]
        lines.append(
            f"| {name} | {rates[FULL]:.1f} | {rates[HALF]:.1f} | {rates[GRADIENT]:.1f} | {len(own)} | "
            f"{units[name].sum():,.0f} | {own.max() * block / 60:.1f} | {days[name].sum():,.0f} |"
        )
    total, longest, by_explainer = days.sum(), seconds.idxmax(), seconds.groupby("explainer").sum().nlargest(5)
    of_metrics = scored * forward.loc[passes.index.get_level_values("model"), HALF].sum() / seconds.sum()
    lines += [
        f"| all | | | | {len(seconds)} | {units.sum():,.0f} | {seconds.max() * block / 60:.1f} | {total:,.0f} |",
        "",
        "| cores, one worker each | whole cells, days | blocks, days |",
        "|---:|---:|---:|",
        *(f"| {count} | {whole(days.tolist(), count):,.1f} | {total / count:,.1f} |" for count in WORKERS),
        "",
        "| passes of one GPU in a second (assumed) | 1 GPU, days | 8 GPUs, days | 64 GPUs, days |",
        "|---:|---:|---:|---:|",
        *(_assumed(rate, units.sum()) for rate in RATES),
        "",
        f"- {IMAGES // block:,} blocks of {block} photographs for each of {len(seconds)} explainers and networks: "
        f"{IMAGES // block * len(seconds):,} blocks, {units.sum() * IMAGES / 1e9:.2f} billion passes.",
        f"- The longest block is `{longest[1]}` on `{longest[0]}`; the five slowest explainers take "
        f"{by_explainer.sum() / seconds.sum():.0%} of the time: "
        f"{', '.join(f'`{name}`' for name in by_explainer.index)}.",
        f"- Metrics take {scored} forward passes of every explanation, {of_metrics:.0%} of the time; stability "
        "explains once more where the experiment has it.",
    ]
    return "\n".join(lines)


def _assumed(rate: int, units: float) -> str:
    days = (f"{units * IMAGES / rate / DAY / count:,.1f}" for count in WORKERS)
    return f"| {rate:,} | {' | '.join(days)} |"


def main() -> None:
    """Print the tables; with `--measure` or `--count`, time the networks or count the passes before."""
    if sys.argv[1:] == ["--measure"]:
        measure(networks()).round(6).to_csv(FORWARD, index_label="model")
    elif sys.argv[1:] == ["--count"]:
        count().to_csv(PASSES, index=False)
    elif sys.argv[1:]:
        sys.exit(f"{' '.join(sys.argv[1:])} is unknown; use --measure, --count or nothing")
    print(tables())


if __name__ == "__main__":
    main()
