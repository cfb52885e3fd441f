"""Why the filters differ in the deletion game: `python experiments/fgvis/deletion_filters.py [IMAGES]`.

Follows deletion with each filter on held-out photographs, by steps of 0.1 from an empty mask of evidence, and compares
the gradients of all three filters at the same masks, averaged over images:

    p          p(e) / p(x), what is left of the score
    above      share of the active neurons (h(e) > 0 or h(x) > 0) that are above their bound b_u
    norm       norm of the filtered gradient of the log-odds, relative to that of the plain gradient
    cosine     cosine of the filtered and the plain gradient
    reach      norm of the direction d = g / max|g|, relative to the plain one: how far a step of given size moves
    drop       what a step of 0.1 d takes from the log-odds, relative to the plain direction's
    equal      the same for steps of equal length: the quality of the direction alone
    back       cosine of the step and the way back to the image: positive where it puts removed evidence back

The path `faded` is for comparison: the gradients of preservation, whose score has to rise, at images that are faded to
`step` per cent of their contrast.
"""

import sys
from contextlib import nullcontext
from typing import Literal, get_args

import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from evident.cell import load
from evident.cli import prepare
from evident.explainers.shared.gradient_filter import Bounds, GradientFilter, activation_bounds
from evident.models.reference_images import reference_images
from evident.request import Request

FilterName = Literal["none", "published", "one_sided"]
FILTERS: tuple[FilterName, ...] = get_args(FilterName)
SHOWN = (1, 2, 5, 10, 20, 40)
STEP = 0.1
FADED = (0.9, 0.5, 0.2)


def log_odds(outputs: Tensor, target: Tensor) -> Tensor:
    """Return log p / (1 - p) (N,) of the target."""
    own = outputs.gather(1, target[:, None])[:, 0]
    return own - outputs.scatter(1, target[:, None], -torch.inf).logsumexp(1)


def gradient(
    model: nn.Module, optimised: Tensor, target: Tensor, bounds: Bounds, kind: FilterName, sign: int = 1
) -> Tensor:
    """Return the gradient (N, 3, H, W) of `sign` times the log-odds, which is minimised, for the network's input."""
    optimised = optimised.detach().requires_grad_()
    with nullcontext() if kind == "none" else GradientFilter(bounds, kind):
        outputs = model(optimised)
    return torch.autograd.grad(sign * log_odds(outputs, target).sum(), optimised)[0]


def above(model: nn.Module, optimised: Tensor, bounds: Bounds) -> Tensor:
    """Return the share (N,) of the active neurons of filtered calls that exceed their bound."""
    pairs = zip(activation_bounds(model, optimised), bounds, strict=True)
    outside, active = torch.zeros(len(optimised)), torch.zeros(len(optimised))
    for now, image in pairs:
        if now.bound is not None and image.bound is not None:
            smallest = 1e-30  # bounds of silent neurons are the smallest normal float
            outside += (now.bound > image.bound).flatten(1).sum(1)
            active += ((now.bound > smallest) | (image.bound > smallest)).flatten(1).sum(1)
    return outside / active


def norm(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1)


def cosine(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).flatten(1).sum(1) / (norm(one) * norm(other)).clamp(min=1e-30)


def faded(model: nn.Module, images: Tensor, target: Tensor) -> list[dict[str, object]]:
    """Return one row per filter and contrast of `FADED`, for the gradients of preservation."""
    bounds, reference = activation_bounds(model, images), reference_images(images, model, "mean_colour")
    rows = []
    for contrast in FADED:
        optimised = torch.lerp(reference, images, contrast)
        # The filter is for a minimised objective: the negative log-odds.
        found = {kind: gradient(model, optimised, target, bounds, kind, -1) * (images - reference) for kind in FILTERS}
        for kind, g in found.items():
            values = {"norm": norm(g) / norm(found["none"]), "cosine": cosine(g, found["none"])}
            values |= {"above": above(model, optimised, bounds), "back": cosine(-g, torch.ones_like(g))}
            means = {name: value.mean().item() for name, value in values.items()}
            rows.append({"path": "faded", "step": round(100 * contrast), "filter": kind} | means)
    return rows


def follow(model: nn.Module, images: Tensor, target: Tensor, followed: str) -> list[dict[str, object]]:
    """Return one row per filter and step of `SHOWN`, along the path of the filter `followed`."""
    bounds, reference = activation_bounds(model, images), reference_images(images, model, "mean_colour")
    removed, rows = torch.zeros_like(images), []
    with torch.no_grad():
        whole = model(images).softmax(1).gather(1, target[:, None])[:, 0]

    def odds(evidence: Tensor) -> Tensor:
        with torch.no_grad():
            return log_odds(model(torch.lerp(images, reference, evidence.clamp(0, 1))), target)

    for step in range(max(SHOWN) + 1):
        optimised = torch.lerp(images, reference, removed)
        wanted = FILTERS if step in SHOWN else (followed,)
        # The gradient with respect to the mask of evidence.
        found = {kind: gradient(model, optimised, target, bounds, kind) * (reference - images) for kind in wanted}
        directions = {kind: g / g.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-30) for kind, g in found.items()}
        if step in SHOWN:
            now, plain, reach = odds(removed), found["none"], norm(directions["none"])
            drops = {}
            for kind, d in directions.items():
                equal = d * (reach / norm(d).clamp(min=1e-30))[:, None, None, None]
                drops[kind] = [now - odds(removed - STEP * each) for each in (d, equal)]
            for kind, g in found.items():
                values = {
                    "p": now.sigmoid() / whole,
                    "above": above(model, optimised, bounds),
                    "norm": norm(g) / norm(plain),
                    "cosine": cosine(g, plain),
                    "reach": norm(directions[kind]) / reach,
                    "drop": drops[kind][0].sum() / drops["none"][0].sum(),
                    "equal": drops[kind][1].sum() / drops["none"][1].sum(),
                    "back": cosine(directions[kind], removed),
                }
                rows.append(
                    {"path": followed, "step": step, "filter": kind} | {n: v.mean().item() for n, v in values.items()}
                )
        removed = (removed - STEP * directions[followed]).clamp(0, 1)
    return rows


def main(images: int, model: str = "squeezenet1_1") -> pd.DataFrame:
    """Return the table of `images` held-out photographs."""
    prepare()
    with initialize_config_dir(f"{sys.path[0]}/../../conf", version_base="1.3"):
        config = compose(
            "config",
            [
                *("experiment=fgvis/games", f"model={model}", "explainer=fgvis_deletion", "logger=none"),
                *("explained.split=val", f"explained.images={images}"),
            ],
        )
    setup, _ = load(Request(config), [])
    network = setup.network.network.eval().requires_grad_(False)
    photographs = torch.stack([setup.images[n]["image"] for n in range(images)])
    with torch.no_grad():
        target = network(photographs).argmax(1)
    rows = [row for kind in FILTERS for row in follow(network, photographs, target, kind)]
    return pd.DataFrame(rows + faded(network, photographs, target))


if __name__ == "__main__":
    print(main(*(int(n) for n in sys.argv[1:2] or ["4"]), *sys.argv[2:3]).to_string(index=False, float_format="%.3f"))
