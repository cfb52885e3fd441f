"""Comparison with peers: the time of the same work by Evident and by other packages, in results/speed/peers.csv.

Times are processor times, of all works in turn, and divided by that of a plain pass in the same repeat.
"""

import logging
import statistics
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits
from torch import nn
from torchvision.models import get_model

from evident.benchmark.fgvis import step
from evident.benchmark.peers import INSTALL, PEERS, Subject, Work
from evident.benchmark.relevance import MU, random_moments, spams_lasso
from evident.benchmark.timing import in_turn
from evident.errors import UserError
from evident.explainers.captum_method import CaptumMethod
from evident.explainers.grad_cam import GradCAM
from evident.explainers.guided import GuidedBackprop
from evident.explainers.occlusion import Occlusion
from evident.explainers.rise import RISE
from evident.explainers.shared.gradient_filter import activation_bounds
from evident.metrics.contract import Explanation
from evident.metrics.faithfulness import deletion_insertion
from evident.models.flower_net import FlowerNet
from evident.models.normalise import Normalise
from evident.relevance import mu_lasso, responses

log = logging.getLogger("evident")
COLUMNS = ("captum", "grad-cam", "torchray", "quantus", "spams")
# Of the networks that may be named: the side of their images and the last layer with maps.
NETWORKS = {"flower_net": (112, "features.19"), "squeezenet1_1": (224, "1.features.12"), "resnet50": (224, "1.layer4")}


class Row(NamedTuple):
    """Hold a row: what is timed, its unit, the goal in that unit, and our work on a subject."""

    name: str
    unit: str
    goal: float
    ours: Callable[[Subject], Work]


def _gradient(subject: Subject) -> Work:
    settings: Mapping[str, Any] = {"attribute": {"abs": False}, "batch_size": len(subject.images)}
    return _explained(CaptumMethod(subject.network, "captum.attr.Saliency", "absolute_maximum", **settings), subject)


def _integrated(subject: Subject) -> Work:
    settings: Mapping[str, Any] = {"attribute": {"n_steps": len(subject.images)}, "baseline": "mean_colour"}
    method = CaptumMethod(subject.network, "captum.attr.IntegratedGradients", "positive_sum", **settings)
    return _explained(method, subject, 1)


def _explained(method: Any, subject: Subject, count: int | None = None) -> Work:
    return partial(method.attribute, subject.images[:count], subject.target[:count])


def _scored(subject: Subject, **settings: Any) -> Work:
    explanation = Explanation(subject.images, subject.target, subject.images.mean(1), model=subject.network)
    return partial(deletion_insertion, explanation, steps=20, batch_size=len(subject.images), **settings)


def _filtered(subject: Subject) -> Work:
    bounds, mask = activation_bounds(subject.network, subject.images), torch.rand_like(subject.images)
    return partial(step, subject.network, subject.images, mask, bounds)


PASSES, FORWARD, UNFILTERED = "forward+backward pass", "forward pass", "unfiltered step"
ROWS = (
    Row("gradient", PASSES, 1.05, _gradient),
    Row("Grad-CAM", PASSES, 1.05, lambda subject: _explained(GradCAM(subject.network, subject.layer), subject)),
    Row("guided backpropagation", PASSES, 1.1, lambda subject: _explained(GuidedBackprop(subject.network), subject)),
    Row("integrated gradients", PASSES, 1.05, _integrated),
    Row(
        "RISE",
        FORWARD,
        1.05,
        lambda subject: _explained(_sampled(RISE, subject, masks=len(subject.images)), subject, 4),
    ),
    Row("occlusion", FORWARD, 1.05, lambda subject: _explained(_sampled(Occlusion, subject), subject, 1)),
    Row("deletion and insertion", FORWARD, 1.05, _scored),
    Row("deletion and insertion of squares", FORWARD, 1.05, partial(_scored, regions="squares", side=16)),
    Row("FGVis", UNFILTERED, 1.1, _filtered),
    Row("responses of all layers", FORWARD, 1.15, lambda subject: partial(responses, *subject[:2], "all")),
)


def _sampled(method: Callable[..., Any], subject: Subject, **settings: Any) -> Any:
    return method(subject.network, batch_size=len(subject.images), **settings)


def _base(unit: str, subject: Subject) -> Work:
    """Return the work that a unit is one of: a pass, or FGVis's step without a filter."""
    if unit == UNFILTERED:
        return partial(step, subject.network, subject.images, torch.rand_like(subject.images), None)
    return partial(_forward if unit == FORWARD else _forward_and_backward, subject)


def _forward(subject: Subject) -> None:
    with torch.no_grad():
        subject.network(subject.images)


def _forward_and_backward(subject: Subject) -> None:
    inputs = subject.leaf()
    torch.autograd.grad(subject.network(inputs).gather(1, subject.target[:, None]).sum(), inputs)


def _subject(name: str, count: int) -> Subject:
    """Return an untrained network, frozen, with images of noise; raises `UserError` for an unknown one."""
    if name not in NETWORKS:
        raise UserError(f"benchmark.peers={name} is unknown; use {', '.join(NETWORKS)}")
    torch.manual_seed(0)
    side, layer = NETWORKS[name]
    network = FlowerNet(6) if name == "flower_net" else nn.Sequential(Normalise(), get_model(name))
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # as trained networks are
    return Subject(network, torch.rand(count, 3, side, side), torch.arange(count) % 6, layer)


def _passes(network: nn.Module, work: Work) -> int:
    """Call the work and return how many images passed the network."""
    seen: list[int] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    try:
        work()
    finally:
        hook.remove()
    return sum(seen)


def _peers(row: Row, subject: Subject) -> Iterator[tuple[str, Work]]:
    """Yield the peers that do the work of the row here; one line for each that is missing or fails."""
    for name, build in PEERS.get(row.name, {}).items():
        try:
            work = build(subject)
            work()
        except ImportError as error:
            package = (error.name or name).partition(".")[0]
            log.warning("%s is blank: no %s; run pip install %s", name, package, INSTALL.get(package, package))
        except Exception as error:  # a peer that cannot do the work here must not stop the others
            log.warning("%s is blank for %s on %s: %s", name, row.name, type(subject.network).__name__, error)
        else:
            yield name, work


def comparison(config: DictConfig) -> pd.DataFrame:
    """Return a row for each work and network, and one of the mu-lasso: ours, lowest, highest and every peer."""
    found = []
    for network, count in config.benchmark.peers:
        subject = _subject(network, count)
        for row in ROWS:
            works = {"evident": row.ours(subject), **dict(_peers(row, subject))}
            # Passes of a sampling method are as many as it takes; of one gradient there is one.
            passes = {
                name: _passes(subject.network, work) / count if row.unit == FORWARD else 1.0
                for name, work in works.items()
            }
            times = in_turn({"base": _base(row.unit, subject), **works}, config.benchmark.repeats)
            ratios = {
                name: [time / (base * passes[name]) for time, base in zip(times[name], times["base"], strict=True)]
                for name in works
            }
            found.append(_line(f"{row.name}, {network}", row.unit, row.goal, ratios))
    if (lasso := _mu_lasso(config)) is not None:
        found.append(lasso)
    return pd.DataFrame(found)


def _mu_lasso(config: DictConfig) -> dict[str, Any] | None:
    features, classes = config.benchmark.mu_lasso[-1]
    gram, cross, labels = random_moments(features, classes, config.benchmark.mu_lasso_images)
    try:
        theirs = spams_lasso(gram, cross, labels)
    except UserError as error:
        log.warning("no row of the mu-lasso: %s", error)
        return None
    ours = threadpool_limits.wrap(limits=1)(partial(mu_lasso, gram, cross, MU))
    times = in_turn({"evident": ours, "spams": theirs}, config.benchmark.repeats)
    ratios = {"evident": [a / b for a, b in zip(*times.values(), strict=True)], "spams": [1.0]}
    return _line(f"mu-lasso, {features} features, {classes} classes", "SPAMS", 1.0, ratios)


def _line(name: str, unit: str, goal: float, ratios: Mapping[str, list[float]]) -> dict[str, Any]:
    ours, medians = ratios["evident"], {name: statistics.median(values) for name, values in ratios.items()}
    log.info("%s: %s (goal %.4g)", name, ", ".join(f"{key} {value:.3f}" for key, value in medians.items()), goal)
    spread = {"evident": medians["evident"], "lowest": min(ours), "highest": max(ours), "repeats": len(ours)}
    return {"row": name, "unit": unit, "goal": goal, **spread, **{key: medians.get(key) for key in COLUMNS}}


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write peers.csv and peers.md, where ours is bold if no peer is faster."""
    table.to_csv(folder / "peers.csv", index=False, float_format="%.3f", lineterminator="\n")
    heads = ["work", "one unit", "goal", "evident", *COLUMNS]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for line in table.to_dict("records"):
        peers = [line[name] for name in COLUMNS]
        leads = [value for value in peers if pd.notna(value)] and line["evident"] <= pd.Series(peers).min()
        ours = f"{line['evident']:.2f} ({line['lowest']:.2f} to {line['highest']:.2f})"
        shown = [f"{value:.2f}" if pd.notna(value) else "" for value in peers]
        cells = [line["row"], line["unit"], f"{line['goal']:.2f}", f"**{ours}**" if leads else ours, *shown]
        lines.append(f"| {' | '.join(cells)} |")
    (folder / "peers.md").write_text("\n".join(lines) + "\n")
