"""Explanations while Lightning tests: every batch is explained, scored and, for the first images, kept."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from captum.attr import Attribution
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from evident.data.images import Batch
from evident.data.scenes.splits import Removals, Truth
from evident.errors import UserError
from evident.explainers.shared.classes import KINDS, class_of
from evident.explainers.shared.heatmap import signed
from evident.explainers.shared.targets import ask_for_classes
from evident.metrics.contract import (
    Curve,
    Explanation,
    Metric,
    attribution_of,
    direction_of,
    image_scores,
    needs_of,
)
from evident.metrics.cost import Cost
from evident.models.regression import is_regression

# What a data set must have for a metric that needs it.
OF_DATA = {
    "mask": "masks",
    "other": "images of two classes",
    "truth": "scenes of known truth",
    "removals": "scenes without their attributes",
}


class Explain(Callback):
    """Explains each test batch of `module.network` with `explainer` and scores it with `metrics`.

    `target` is the class explained: `label`, or one that the network's scores name (`explainers.shared.classes`), by
    lot of `seed` where it is `random`; of a regression it is the first number that it predicts. `examples` images are
    kept with their heatmaps; `advance` is told the number of images after each batch. `directions` says of each score
    which are better.

    A metric that needs "relevance" is for explainers that learn relevant features alone, one that needs "evidence" for
    those whose explanation is an image, one that needs "contributions" or "attribute_maps" for those that tell them. To
    any other it does not apply: it has no row in the scores, and a blank cell in the table. `removals` gives scenes
    without their attributes for indices of images, where the data set can.
    """

    def __init__(
        self,
        explainer: Attribution,
        metrics: Mapping[str, Metric],
        target: str,
        examples: int = 0,
        advance: Callable[[int], None] = lambda images: None,
        seed: int = 0,
        removals: Callable[[Tensor], Removals] | None = None,
    ) -> None:
        self.explainer, self.metrics, self.target, self.seed = explainer, metrics, target, seed
        self.examples, self.advance, self.removals = examples, advance, removals
        self._needed = {need for score in metrics.values() for need in needs_of(score)}
        self.directions: dict[str, str] = {}
        self._rows: list[pd.DataFrame] = []
        self._kept: list[dict[str, Tensor]] = []
        self._costs: list[dict[str, float]] = []

    def on_test_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.target not in ("label", *KINDS):
            raise UserError(f"explained.target={self.target!r} is unknown; use {', '.join(('label', *KINDS))}")

    def on_test_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        explanation = self._explain(module.network, batch)
        for name, metric in self.metrics.items():
            missing = {need for need in needs_of(metric) if getattr(explanation, need) is None}
            for need in [need for need in OF_DATA if need in missing]:
                raise UserError(
                    f"metric {name} needs {OF_DATA[need]}, and this data set has none; leave it out of metric"
                )
            if missing:
                continue
            result = metric(explanation)
            results = result if isinstance(result, Mapping) else {name: result}
            for key, value in results.items():
                self.directions[key] = direction_of(metric, key)
                self._rows += _rows(key, value, batch["index"], explanation.target)
        self._keep(explanation)
        self.advance(len(explanation.images))

    def _explain(self, network: torch.nn.Module, batch: Batch) -> Explanation:
        images, mask = batch["image"], batch.get("mask")
        # Of what a regression predicts, the first is explained, the average of votes.
        target = torch.zeros_like(batch["index"]) if is_regression(network) else batch["label"]
        if self.target != "label":
            ask_for_classes(network, f"explained.target={self.target}")
            target = class_of(self.target, network(images), target, images, self.seed)
        evidence = None
        with Cost(network) as cost:
            if hasattr(self.explainer, "evidence"):
                with torch.enable_grad():
                    evidence = self.explainer.evidence(images, target)
                # What `attribute` gives, without a second optimisation.
                attribution = evidence.mask
            else:
                attribution = attribution_of(self.explainer, images, target, self._marked(batch))
            heatmap = self.explainer.heatmap(attribution)
        if heatmap.isnan().any():
            raise ValueError(f"{type(self.explainer).__name__} gave a heatmap with NaN")
        self._costs.append(
            {
                "images": len(images),
                "seconds": cost.seconds,
                "forward_passes": cost.forward_passes,
                "backward_passes": cost.backward_passes,
                "peak_memory": cost.peak_memory,
            }
        )
        relevance = getattr(self.explainer, "relevance", None)
        truth = Truth(*(batch[name] for name in Truth._fields)) if "contribution_map" in batch else None
        states, maps = (getattr(self.explainer, name, None) for name in ("contributions", "attribute_maps"))
        return Explanation(
            images,
            target,
            heatmap,
            mask,
            network,
            relevance,
            self.explainer,
            evidence,
            batch.get("other"),
            signed=self._signed(attribution, images, target) if is_regression(network) else None,
            truth=truth,
            contributions=None if states is None else states(images, target),
            attribute_maps=None if maps is None else maps(images),
            removals=self._removals(batch["index"]) if "removals" in self._needed else None,
        )

    def _marked(self, batch: Batch) -> Tensor | None:
        """What an oracle is told: where the evidence is, or what each place is truly worth where that is known."""
        return batch.get("contribution_map", batch.get("mask"))

    def _signed(self, attribution: Tensor, images: Tensor, target: Tensor) -> Tensor:
        either = signed(attribution, self.explainer.heatmap)
        # What is evidence for how a score differs from another one speaks for or against it as a whole.
        return either * self.explainer.signs(images, target) if hasattr(self.explainer, "signs") else either

    def _removals(self, index: Tensor) -> Removals | None:
        if self.removals is None:
            return None
        return Removals(*(values.to(index.device) for values in self.removals(index.cpu())))

    def _keep(self, explanation: Explanation) -> None:
        wanted = self.examples - sum(len(kept["images"]) for kept in self._kept)
        if wanted <= 0:
            return
        kept = {
            "images": _pixels(explanation.images[:wanted]),
            "target": explanation.target[:wanted],
            "heatmaps": explanation.heatmap[:wanted].float(),
        }
        if explanation.mask is not None:
            kept["masks"] = explanation.mask[:wanted]
        if explanation.signed is not None:
            kept["signed"] = explanation.signed[:wanted].float()
        if hasattr(self.explainer, "decoupled"):
            with torch.enable_grad():
                parts = self.explainer.decoupled(explanation.images[:wanted], explanation.target[:wanted])
            kept |= {"features": parts.features, "feature_maps": parts.maps}
        if (evidence := explanation.evidence) is not None:
            kept |= {
                "evidence_masks": _pixels(evidence.mask[:wanted]),
                "explanations": _pixels(evidence.explanation[:wanted]),
                "complements": _pixels(evidence.complement[:wanted]),
                "scores": evidence.score[:wanted],
                "explanation_scores": evidence.explanation_score[:wanted],
                "complement_scores": evidence.complement_score[:wanted],
            }
        self._kept.append({key: value.cpu().contiguous() for key, value in kept.items()})

    def scores(self, names: Sequence[str]) -> pd.DataFrame:
        """All scores in long form: image (its name), target, metric, at (position on a curve, else NaN), value.

        Raises `UserError` where no metric applies to the explainer.
        """
        if not self._rows:
            name = type(self.explainer).__name__
            raise UserError(f"metric={list(self.metrics)} scores nothing of {name}; add a metric that applies to it")
        scores = pd.concat(self._rows, ignore_index=True)
        scores["image"] = [names[index] for index in scores["image"]]
        return scores

    def kept(self) -> dict[str, Tensor]:
        """The first images uint8, their targets, heatmaps and, where they exist, masks.

        Where the explainer shows features one by one, also their places as `features` and their `feature_maps`. Where
        it gives explanations that are images, also `evidence_masks`, `explanations` and `complements`, uint8
        (n, 3, H, W), and the target's probability (n,) in the image, `scores`, and in both, `explanation_scores` and
        `complement_scores`.
        """
        return {key: torch.cat([kept[key] for kept in self._kept]) for key in self._kept[0]} if self._kept else {}

    def cost(self) -> dict[str, float]:
        """Totals over all images: seconds, passes in images, and the highest memory of any batch in bytes."""
        costs = pd.DataFrame(self._costs)
        totals = {str(name): float(value) for name, value in costs.drop(columns="peak_memory").sum().items()}
        return {**totals, "peak_memory": float(costs["peak_memory"].max())}


def _pixels(images: Tensor) -> Tensor:
    return (images * 255).round().byte()


def _rows(name: str, result: Tensor | Curve, index: Tensor, target: Tensor) -> list[pd.DataFrame]:
    def frame(at: float, values: Tensor) -> pd.DataFrame:
        columns = {"image": index.cpu(), "target": target.cpu(), "metric": name, "at": at}
        return pd.DataFrame({**columns, "value": values.double().cpu()})

    points = [] if isinstance(result, Tensor) else zip(result.at.tolist(), result.values.T, strict=True)
    return [frame(float("nan"), image_scores(result)), *(frame(at, values) for at, values in points)]
