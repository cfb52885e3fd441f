"""Explanation of test batches: explain, then hand the batch to the recorders."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from captum.attr import Attribution
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from evident.contracts import GivesEvidence, LearnsRelevance, Regressor, ShowsAttributes, Signed, StatesContributions
from evident.data.images import NO_LABEL
from evident.errors import UserError
from evident.explainers.shared.classes import KINDS, class_of
from evident.explainers.shared.heatmap import signed
from evident.explainers.shared.targets import ask_for_classes
from evident.metrics.contract import Explanation, attributions
from evident.metrics.cost import Cost
from evident.models.precision import PLAIN, Passes, passes_in
from evident.models.repeatable import warn_of_other_scores
from evident.recorders.contract import ExplainedBatch, Recorder
from evident.values import Batch, Evidence, PartChanges, Removals, Truth

Removed = Callable[[Tensor], Removals]
Changed = Callable[[Tensor], PartChanges]
Rendered = TypeVar("Rendered", Removals, PartChanges)


class Explain(Callback):
    """Explain every test batch of `module.network` and hand it to the recorders.

    `target` is the class that is explained: `label`, a class chosen by the network's scores
    (`explainers.shared.classes`), with `seed` where it is random, or an index; for a regression it is the first output.
    `prepare`
    runs before the first batch, when the network is on its device; `advance` gets the number of images after each
    batch; `removals` renders images without their attributes, and `parts` with their parts drawn anew, if a metric
    needs that; `further` are fields of every explanation, by name; `passes` is how the explainer's are computed.
    """

    def __init__(
        self,
        explainer: Attribution,
        recorders: Sequence[Recorder],
        target: str | int = "label",
        seed: int = 0,
        removals: Removed | None = None,
        parts: Changed | None = None,
        further: Mapping[str, Any] | None = None,
        passes: Passes = PLAIN,
        prepare: Callable[[], None] = lambda: None,
        advance: Callable[[int], None] = lambda images: None,
    ) -> None:
        if isinstance(target, str) and target not in ("label", *KINDS):
            raise UserError(
                f"explained.target={target!r} is unknown; use {', '.join(('label', *KINDS))}, or the index or name of "
                "a class"
            )
        self.explainer, self.recorders, self.target, self.seed = explainer, recorders, target, seed
        self.removals, self.parts, self.prepare, self.advance = removals, parts, prepare, advance
        self.further, self.passes = dict(further or {}), passes
        self._first = True

    def on_test_start(self, trainer: Trainer, module: LightningModule) -> None:
        for value in self.further.values():
            if isinstance(value, nn.Module):  # Lightning moves the explained network only
                value.to(module.device)
        self.prepare()

    def on_test_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        if self._first:
            warn_of_other_scores(module.network, batch["image"][:1])
            self._first = False
        target = target_of(self.target, module.network, batch, self.seed)
        rendered = (self.removals, self.parts)
        explained = explain_batch(self.explainer, module.network, batch, target, *rendered, self.further, self.passes)
        for recorder in self.recorders:
            recorder.record(explained)
        self.advance(len(batch["image"]))


def target_of(kind: str | int, network: nn.Module, batch: Batch, seed: int) -> Tensor:
    """Return the class (N,) that is explained for each image of the batch, as `Explain` describes it.

    Raises `UserError` if that depends on labels that images do not have.
    """
    images = batch["image"]
    target = torch.zeros_like(batch["index"]) if isinstance(network, Regressor) else batch["label"]
    if isinstance(kind, int):
        ask_for_classes(network, f"explained.target={kind}")
        return torch.full_like(target, kind)
    if kind not in ("predicted", "least_likely") and (target == NO_LABEL).any():
        raise UserError(
            f"explained.target={kind} needs labels, which {int((target == NO_LABEL).sum())} of {len(target)} images do "
            "not have; use explained.target=predicted"
        )
    if kind == "label":
        return target
    ask_for_classes(network, f"explained.target={kind}")
    return class_of(kind, network(images), target, images, seed)


def explain_batch(
    explainer: Any,
    network: nn.Module,
    batch: Batch,
    target: Tensor,
    removals: Removed | None = None,
    parts: Changed | None = None,
    further: Mapping[str, Any] | None = None,
    passes: Passes = PLAIN,
) -> ExplainedBatch:
    """Explain the images of one batch for the classes `target` (N,); raises `ValueError` for a heatmap with NaN.

    `further` are fields of the explanation that are the same for all batches; `passes` is how the explainer's are
    computed.
    """
    images, mask = batch["image"], batch.get("mask")
    evidence: Evidence | None = None
    with passes_in(network, passes), Cost(network) as cost:
        if isinstance(explainer, GivesEvidence):
            with torch.enable_grad():
                evidence = explainer.evidence(images, target)
            # What `attribute` returns, without a second optimisation.
            attribution = evidence.mask
        else:
            # Ground truth for the oracle: the contribution map if known, else the mask.
            attribution = attributions(explainer, images, target, batch.get("contribution_map", mask))
        heatmap = explainer.heatmap(attribution)
    _check_shapes(explainer, images, attribution, heatmap)
    if heatmap.isnan().any():
        raise ValueError(f"{type(explainer).__name__} returned a heatmap with NaN")
    explanation = Explanation(
        images,
        target,
        heatmap,
        mask,
        network,
        relevance=explainer.relevance() if isinstance(explainer, LearnsRelevance) else None,
        explainer=explainer,
        evidence=evidence,
        other=batch.get("other"),
        tile=batch.get("tile"),
        signed=_signed(explainer, attribution, images, target) if isinstance(network, Regressor) else None,
        truth=Truth(*(batch[name] for name in Truth._fields)) if "contribution_map" in batch else None,
        contributions=explainer.contributions(images, target) if isinstance(explainer, StatesContributions) else None,
        attribute_maps=explainer.attribute_maps(images) if isinstance(explainer, ShowsAttributes) else None,
        removals=None if removals is None else _on(removals(batch["index"].cpu()), images.device),
        parts=None if parts is None else _on(parts(batch["index"].cpu()), images.device),
        **(further or {}),
    )
    spent = {
        "seconds": cost.seconds,
        "forward_passes": cost.forward_passes,
        "backward_passes": cost.backward_passes,
        "peak_memory": cost.peak_memory,
    }
    return ExplainedBatch(batch, explanation, spent)


def _check_shapes(explainer: Any, images: Tensor, attribution: Tensor, heatmap: Tensor) -> None:
    """Raise `UserError` unless an explainer, which may be the user's, returns what the contract says."""
    name, count, (height, width) = type(explainer).__name__, len(images), images.shape[-2:]
    if attribution.shape not in [(count, channels, height, width) for channels in (1, 3)]:
        raise UserError(
            f"{name}.attribute returned {tuple(attribution.shape)} for {count} images of {height} x {width} pixels; "
            f"return (N, 1 or 3, H, W)"
        )
    if heatmap.shape != (count, height, width):
        raise UserError(
            f"{name}.heatmap returned {tuple(heatmap.shape)} for {count} images of {height} x {width} pixels; return "
            "(N, H, W)"
        )


def _signed(explainer: Any, attribution: Tensor, images: Tensor, target: Tensor) -> Tensor:
    values = signed(attribution, explainer.heatmap)
    # Evidence without a sign raises or lowers the score as a whole: one sign per image.
    return values * explainer.signs(images, target) if isinstance(explainer, Signed) else values


def _on(rendered: Rendered, device: torch.device) -> Rendered:
    return type(rendered)(*(values.to(device) for values in rendered))
