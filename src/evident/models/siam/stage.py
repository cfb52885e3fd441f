r"""One training stage of SIAM or a baseline: its losses and measures (Marcos et al. 2019).

    L_sun    binary cross-entropy between the attributes p and the share of annotators who saw them
    L_son    mean squared error of the average, plus that of the variance of the votes
    T        mean |templates|

    L = L_sun + 0.1 L_son [L_sun / L_son] + 0.001 T [L_sun / T]        no gradient flows through the brackets
    L = L_son + 0.001 T [L_son / T]                                    if no attributes are learned
    L = L_sun                                                          if no scores are learned

Each loss thus has the weight of its factor, whatever its magnitude. The optimiser is Adam; its learning rate rises and
falls once per stage.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from evident.contracts import HasAttributeMaps
from evident.data.scenes.splits import SCORES
from evident.models.siam.measures import attribute_precision, scenicness_measures
from evident.models.siam.network import SIAM
from evident.values import Batch

SCENICNESS_WEIGHT = 0.1


def normalised_sum(main: Tensor, further: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Return main + sum_i weight_i loss_i [main / loss_i], without gradient through the brackets."""
    return main + sum(weight * loss * (main / loss.clamp(min=1e-12)).detach() for weight, loss in further)


def squared_errors(scores: Tensor, votes: Tensor) -> Tensor:
    """Return the mean squared errors of average and variance (N, 2), summed; labels that are NaN are left out."""
    known = ~votes.isnan()
    squared = torch.where(known, scores - votes, 0).square()
    return (squared.sum(0) / known.sum(0).clamp(min=1)).sum()


class SceneStage(LightningModule):
    """Train the parts of `network` named by `trained`, or test it, on batches with votes, attributes or both.

    All other parts stay bit-identical, running statistics included. A training step takes a dictionary with a batch
    `attributes`, a batch `scenicness`, or both, and sums the losses of those that are given. Logs the losses as
    `<name>_..._loss`, and for validation and test batches the measures of `evident.models.siam.measures`; with
    `attribute_names`, also the precision of each attribute.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str = "joint",
        trained: Sequence[str] = (),
        learning_rate: float = 1e-3,
        attribute_names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.network: Any = network
        self.name, self.trained = name, trained
        self.learning_rate = learning_rate
        self.attribute_names = attribute_names
        self._seen: dict[str, list[Tensor]] = {}

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.network.train()
            for name, part in self.network.named_children():
                part.requires_grad_(name in self.trained)

    def on_train_epoch_start(self) -> None:
        # Not in `setup`: Lightning would warn about modules in eval mode.
        for name, part in self.network.named_children():
            part.train(name in self.trained)

    def training_step(self, batches: Mapping[str, Batch]) -> Tensor:
        losses: list[tuple[float, Tensor]] = []
        if (batch := batches.get("attributes")) is not None:
            cross_entropy = F.binary_cross_entropy(self.network.attributes(batch["image"]), batch["attributes"])
            losses.append((1, cross_entropy))
            self._log("attribute_loss", cross_entropy, batch)
        if (batch := batches.get("scenicness")) is not None:
            squared_error = squared_errors(self(batch["image"]), votes_of(batch))
            losses.append((SCENICNESS_WEIGHT, squared_error))
            self._log("scenicness_loss", squared_error, batch)
            if isinstance(self.network, SIAM) and self.network.sparsity:
                losses.append((self.network.sparsity, self.network.template_magnitude()))
        (_, main), *further = losses
        return normalised_sum(main, further)

    def _log(self, name: str, loss: Tensor, batch: Batch) -> None:
        name = f"{self.name}_{name}"
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(batch["image"]))

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        super().optimizer_step(*arguments, **named)
        # The paper clamps before every step. Clamping after each step is the same, and also covers the last one.
        if isinstance(self.network, SIAM):
            self.network.clamp_templates()

    def configure_optimizers(self) -> Any:
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimiser = torch.optim.Adam(learning, lr=self.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.learning_rate, steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_validation_epoch_start(self) -> None:
        self._seen = {}

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        seen: dict[str, Tensor] = {}
        if "average" in batch:
            seen |= {"scores": self(batch["image"]), "votes": votes_of(batch)}
        if "attributes" in batch and isinstance(self.network, HasAttributeMaps):
            seen |= {"attributes": self.network.attributes(batch["image"]), "labels": batch["attributes"]}
        for key, value in seen.items():
            self._seen.setdefault(key, []).append(value)

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        self.log_dict({f"{self.name}_val_{name}": value for name, value in self._measures().items()})

    def on_test_epoch_end(self) -> None:
        self.log_dict({f"test_{name}": value for name, value in self._measures().items()})

    def seen(self) -> dict[str, Tensor]:
        """Return predictions and labels of the last validation or test epoch, on the CPU.

        `scores` and `votes` are (N, 2) for N scenes with votes; `attributes` and `labels` (M, K) for M scenes with
        attributes. Keys without such scenes are absent.
        """
        return {key: torch.cat(values).cpu() for key, values in self._seen.items()}

    def _measures(self) -> dict[str, float]:
        seen = self.seen()
        measured = scenicness_measures(seen["scores"], seen["votes"]) if "scores" in seen else {}
        if "labels" in seen:
            precision = attribute_precision(seen["attributes"], seen["labels"])
            measured["attribute_precision"] = precision.nanmean().item()
            by_name = zip(self.attribute_names, precision.tolist(), strict=False)
            measured |= {f"{name}_precision": value for name, value in by_name}
        return measured


def votes_of(batch: Batch) -> Tensor:
    """Return the labels (B, 2) of a batch: average and variance of the votes."""
    return torch.stack([batch[score] for score in SCORES], 1)
