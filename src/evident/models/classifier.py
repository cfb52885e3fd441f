"""Training and testing of classifiers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from evident.contracts import Splits
from evident.data.images import NO_LABEL, loader
from evident.models.fitted import Fitted
from evident.models.normalise import normalisation
from evident.values import Batch


class Classifier(LightningModule):
    """Train `network` by cross-entropy with AdamW and a one-cycle schedule; log loss and accuracy in [0, 1].

    Images without a label do not count. Tests also log `test_top5`, the share of images whose class is among the five
    highest scores.
    """

    def __init__(
        self, network: nn.Module, classes: int, learning_rate: float = 1e-3, weight_decay: float = 1e-4
    ) -> None:
        super().__init__()
        self.network = network
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        best = {"train_accuracy": 1, "val_accuracy": 1, "test_accuracy": 1, "test_top5": min(5, classes)}
        self.accuracies = nn.ModuleDict(
            {
                name: MulticlassAccuracy(classes, top_k=top, average="micro", ignore_index=NO_LABEL)
                for name, top in best.items()
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: Batch) -> Tensor:
        return self._step(batch, "train_")

    def validation_step(self, batch: Batch) -> None:
        self._step(batch, "val_")

    def test_step(self, batch: Batch) -> None:
        self._step(batch, "test_")

    def _step(self, batch: Batch, stage: str) -> Tensor:
        scores = self(batch["image"])
        loss = F.cross_entropy(scores, batch["label"], ignore_index=NO_LABEL)
        size = len(batch["label"])
        self.log(f"{stage}loss", loss, on_step=False, on_epoch=True, batch_size=size)
        accuracy: Any
        for name, accuracy in self.accuracies.items():
            if name.startswith(stage):
                accuracy(scores, batch["label"])
                self.log(name, accuracy, on_step=False, on_epoch=True, batch_size=size)
        return loss

    def configure_optimizers(self) -> Any:
        optimiser = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.learning_rate, steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@dataclass(frozen=True)
class Classification:
    """Train classifiers for `epochs`; the other settings are those of `Classifier`.

    `measure_train` measures the accuracy on the training images too: whether labels that say nothing were learnt.
    """

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    measure_train: bool = False

    def batches(self, splits: Splits) -> int:
        """Return the number of batches that `fit` trains and tests on."""
        train, test = loader(splits.split("train"), self.batch_size), loader(splits.split("test"), 256)
        measured = len(loader(splits.split("train"), 256)) if self.measure_train else 0
        return self.epochs * len(train) + measured + len(test)

    def module(self, network: nn.Module, classes: int) -> Classifier:
        """Return the module that trains and tests `network`."""
        return Classifier(network, classes, self.learning_rate, self.weight_decay)

    def fit(self, network: nn.Module, splits: Splits, seed: int, trainer: Callable[..., Trainer]) -> Fitted:
        """Train `network` in place; return its accuracies `val`, `test` and any `train`, in [0, 1]."""
        images = splits.split("train")
        normalisation(network).measure(images.images[torch.arange(len(images))])
        classifier = self.module(network, len(splits.class_names()))
        train = loader(images, self.batch_size, shuffle_seed=seed)
        steps = {"max_epochs": self.epochs, "log_every_n_steps": min(50, len(train))}
        fitting = trainer(**steps, num_sanity_val_steps=0)
        fitting.fit(classifier, train, loader(splits.split("val"), 256))
        accuracy = {"val": float(fitting.callback_metrics["val_accuracy"])}
        if self.measure_train:
            fitting.test(classifier, loader(images, 256), verbose=False)
            accuracy["train"] = float(fitting.callback_metrics["test_accuracy"])
        fitting.test(classifier, loader(splits.split("test"), 256), verbose=False)
        return Fitted({**accuracy, "test": float(fitting.callback_metrics["test_accuracy"])})
