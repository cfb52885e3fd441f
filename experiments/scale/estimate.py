"""Estimate what every photograph of ImageNet's validation set would cost under every explainer and network.

    python experiments/scale/estimate.py              prints the tables of docs/scale.md
    python experiments/scale/estimate.py --measure    times the networks first, with one thread, into forward.csv

Seconds per image are those of `results/imagenet/cost.csv`: two networks, one thread of a CPU. Those of another network
are estimates: measured seconds times the ratio of the networks' forward passes, the mean over the measured networks.
"""

import sys
import time
from itertools import permutations
from pathlib import Path

import pandas as pd
import torch

from evident.cli import composed
from evident.models.pretrained import TorchvisionClassifier
from evident.request import Request

ROOT = Path(__file__).parents[2]
FORWARD = Path(__file__).with_name("forward.csv")
NETWORKS = ("squeezenet1_1", "mobilenet_v2", "alexnet", "resnet18", "googlenet", "resnet50", "vgg16")
IMAGES = 50_000
WORKERS = (1, 8, 64)
DAY = 24 * 60 * 60


def measure(networks: tuple[str, ...] = NETWORKS, batch: int = 16, rounds: int = 7) -> pd.Series:
    """Return the processor seconds (networks,) of a forward pass per image of 224x224, with one thread.

    The least of several rounds, because other processes only add to it. Weights do not matter, so they are random.
    """
    torch.set_num_threads(1)
    images = torch.rand(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    found: dict[str, list[float]] = {name: [] for name in networks}
    built = {name: _network(name) for name in networks}
    for _ in range(rounds):
        for name, network in built.items():
            start = time.process_time()
            with torch.no_grad():
                network(images)
            found[name].append((time.process_time() - start) / batch)
    return pd.Series({name: min(seconds) for name, seconds in found.items()}, name="seconds_per_image")


def _network(name: str) -> torch.nn.Module:
    settings = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return TorchvisionClassifier(name, classes=1000, **settings).eval()


def measured(file: Path = ROOT / "results" / "imagenet" / "cost.csv") -> pd.DataFrame:
    """Return the measured seconds per image, explainers by networks, without explainers that lack a network."""
    return pd.read_csv(file).pivot_table("seconds_per_image", "explainer", "model").dropna()


def explaining(seconds: pd.DataFrame, forward: pd.Series) -> pd.DataFrame:
    """Return seconds per image for all networks of `forward`: measured ones as they are, else by forward passes."""
    passes = seconds.div(forward[seconds.columns], axis=1).mean(axis=1)
    estimated = pd.DataFrame({name: passes * forward[name] for name in forward.index})
    return estimated.assign(**{str(name): seconds[name] for name in seconds.columns})


def cells(seconds: pd.DataFrame, forward: pd.Series, images: int, draws: int, steps: int) -> pd.DataFrame:
    """Return the seconds of each cell: stability explains `draws` times more, and perturbation takes 2 `steps` passes.

    The other metrics of `experiment=imagenet` read the heatmap only.
    """
    return images * (seconds * (1 + draws)).add(2 * steps * forward[seconds.columns], axis=1)


def whole(durations: list[float], workers: int) -> float:
    """Return when the last of several workers ends that take whole cells, the longest first."""
    busy = [0.0] * workers
    for duration in sorted(durations, reverse=True):
        first = busy.index(min(busy))
        busy[first] += duration
    return max(busy)


def tables() -> str:
    """Return the tables and sentences of docs/scale.md."""
    forward = pd.read_csv(FORWARD, index_col="model")["seconds_per_image"]
    known = measured()
    config = composed("experiment=imagenet", "scale=quick")
    draws, steps = config.scale.metric.stability.draws, config.scale.metric.perturbation.steps
    of_cell = cells(explaining(known, forward), forward, IMAGES, draws, steps) / DAY
    lines = [
        "| network | forward pass, ms | seconds of an explanation | cells | mean cell, days | longest cell, days | "
        "all cells, core-days |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for name in forward.index:
        origin, days = "measured" if name in known else "estimate", of_cell[name]
        numbers = f"{len(days)} | {days.mean():.2f} | {days.max():.1f} | {days.sum():.0f}"
        lines.append(f"| {name} | {1000 * forward[name]:.1f} | {origin} | {numbers} |")
    total, durations = of_cell.to_numpy().sum(), of_cell.to_numpy().ravel().tolist()
    quick = of_cell * (config.explained.images / IMAGES * DAY / 60)
    lines += [
        f"| all | | | {of_cell.size} | {of_cell.to_numpy().mean():.2f} | {max(durations):.1f} | {total:.0f} |",
        "",
        "| cores, one worker each | whole cells, days | cells in parts, days |",
        "|---:|---:|---:|",
        *(f"| {count} | {whole(durations, count):.1f} | {total / count:.1f} |" for count in WORKERS),
        "",
        *_sentences(of_cell, known, forward),
        f"- At scale=quick ({config.explained.images} images) the longest cell takes "
        f"{quick.to_numpy().max():.0f} minutes, the mean cell {quick.to_numpy().mean():.1f}.",
    ]
    return "\n".join(lines)


def _sentences(of_cell: pd.DataFrame, known: pd.DataFrame, forward: pd.Series) -> list[str]:
    longest, by_explainer = of_cell.max(), of_cell.sum(axis=1)
    network = str(longest.idxmax())
    sums, checks = known.sum(), []
    for one, other in permutations(known.columns, 2):
        factor = sums[one] * forward[other] / forward[one] / sums[other]
        checks.append(f"from `{one}` it gives {factor:.2f} times the measured sum of `{other}`")
    return [
        f"- The longest cell is `{of_cell[network].idxmax()}` on `{network}`; the five slowest explainers take "
        f"{by_explainer.nlargest(5).sum() / by_explainer.sum():.0%} of the time.",
        f"- The rule by forward passes, where it can be checked: {'; '.join(checks)}.",
        f"- {len(known)} explainers have measured seconds. Left out, because they have none: "
        f"{', '.join(f'`{name}`' for name in left_out(known))}.",
    ]


def left_out(known: pd.DataFrame) -> list[str]:
    """Return the explainers of `experiment=imagenet` that apply to a network of the table and were not measured."""
    files = sorted((ROOT / "conf" / "explainer").glob("*.yaml"))
    names = [file.stem for file in files if file.stem != "vebi" and not file.stem.startswith("attention_")]
    return [
        name
        for name in names
        if name not in known.index
        and Request(composed("experiment=imagenet", f"explainer={name}", "model=resnet18")).applies
    ]


def main() -> None:
    """Print the tables; with `--measure`, time the networks before."""
    if sys.argv[1:] == ["--measure"]:
        measure().round(6).to_csv(FORWARD, index_label="model")
    elif sys.argv[1:]:
        sys.exit(f"{' '.join(sys.argv[1:])} is unknown; use --measure or nothing")
    print(tables())


if __name__ == "__main__":
    main()
