r"""Training of SIAM and its baselines on two data sets, in stages (Marcos et al., ICCV-W 2019).

    attributes    L_sun; trains the backbone and the attribute maps
    scenicness    L_son; trains the score heads only
    joint         both losses; trains everything

The losses are those of `evident.models.siam.stage`. A network without attributes trains on the scores in the first
stage too. The paper's epoch has 500 steps and its learning rate falls twice; we chose that a stage lasts until the
validation loss stops improving, for every network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import DataLoader

from evident.contracts import HasAttributeMaps, KnowsTruth
from evident.data.images import loader
from evident.data.scenes.splits import SCORES, SceneSplits
from evident.errors import UserError
from evident.models.fitted import Fitted
from evident.models.normalise import normalisation
from evident.models.siam.batches import Augment, random_batches
from evident.models.siam.scene_network import SceneNetwork
from evident.models.siam.stage import IMPROVEMENT, SceneStage

# The parts that each stage trains, of a network with attributes.
PARTS = {
    "attributes": ("backbone", "attribute_layer"),
    "scenicness": ("scenicness",),
    "joint": ("backbone", "attribute_layer", "scenicness"),
}
# The part that learns from each data set.
HEADS = {"attributes": "attribute_layer", "scenicness": "scenicness"}
MEASURED_ON = 2000  # training images that give the mean colour of a backbone without published weights


@dataclass(frozen=True)
class SceneTraining:
    """Train networks of scenes in `stages` (most epochs by name), with `steps` per epoch of `batch_size` of each set.

    Adam's `learning_rate` falls to a tenth after `patience` epochs in which the validation loss did not fall by a
    hundredth; a stage ends after three times as many, and keeps its best epoch. `augment` transforms each training
    image; parts in `frozen` are not trained. Stages of zero epochs are skipped. Raises `UserError` for unknown
    stages or parts, and if no stage has epochs.
    """

    stages: Mapping[str, int]
    steps: int
    batch_size: int = 10
    learning_rate: float = 1e-3
    patience: int = 4
    augment: Augment | None = None
    frozen: Sequence[str] = ()

    def __post_init__(self) -> None:
        for key, given, known in (("stages", self.stages, PARTS), ("frozen", self.frozen, PARTS["joint"])):
            if unknown := [name for name in given if name not in known]:
                raise UserError(f"data.training.{key} has {unknown[0]!r}, which is unknown; use {', '.join(known)}")
        if min(self.stages.values(), default=0) < 0 or not sum(self.stages.values()):
            raise UserError(
                f"data.training.stages={dict(self.stages)} has no epochs to train; give at least one stage 1 or more, "
                "and none a negative number"
            )

    def batches(self, splits: SceneSplits) -> int:
        """Return the largest number of batches that `fit` trains and tests on."""
        tested = _ordered_loaders(splits.scenicness.test, splits.attributes.test)
        return sum(self.stages.values()) * self.steps + sum(map(len, tested))

    def module(self, network: nn.Module, classes: int) -> SceneStage:
        """Return the module that tests `network` on scenes with votes."""
        return SceneStage(network)

    def fit(self, network: nn.Module, splits: SceneSplits, seed: int, trainer: Callable[..., Trainer]) -> Fitted:
        """Train `network` in place; return its defined measures, `val_...` and `test_...`, and its test predictions.

        The predictions are those of `SceneStage.seen` and, if the true scores of the test scenes are known, `true`
        (N, 2): average and variance before anyone voted. Raises `UserError` unless `network` is a `SceneNetwork`, and
        for a stage whose parts are all frozen.
        """
        if not isinstance(network, SceneNetwork):
            raise UserError(
                f"{type(network).__name__} does not predict scenicness; use model=siam, scene_regressor or "
                "unconstrained_attributes"
            )
        scenes: Any = splits.scenicness.train
        network.start_at(torch.stack([scenes.labels[score].float().mean() for score in SCORES]).nan_to_num())
        if network.backbone.weights is None:
            normalisation(network).measure(scenes.images[torch.arange(min(len(scenes), MEASURED_ON))])
        sets = {"attributes": splits.attributes.train, "scenicness": scenes}
        loaders = {
            name: random_batches(images, self.batch_size, self.steps, seed, self.augment)
            for name, images in sets.items()
        }
        measured, epochs = {}, {}
        for name in (stage for stage in PARTS if self.stages.get(stage)):
            parts = [part for part in parts_of(name, network) if part not in self.frozen]
            used = {key: loaders[key] for key, head in HEADS.items() if head in parts}
            if not used:
                raise UserError(
                    f"data.training.frozen={list(self.frozen)} leaves nothing to train in the stage {name}; freeze "
                    "fewer parts or give that stage 0 epochs"
                )
            stage = SceneStage(network, name, parts, self.learning_rate, self.patience, splits.attribute_names())
            validation = _ordered_loaders(splits.scenicness.val, splits.attributes.val)
            best = BestEpoch(stage.validation_loss_name)
            fitting = trainer(
                max_epochs=self.stages[name],
                num_sanity_val_steps=0,
                log_every_n_steps=min(50, self.steps),
                callbacks=[EarlyStopping(stage.validation_loss_name, IMPROVEMENT, 3 * self.patience), best],
            )
            fitting.fit(stage, CombinedLoader(used, "min_size"), validation)
            measured = _defined(best.measured, f"{name}_val_", "val_")
            epochs[f"{name}_epochs"] = float(best.epoch)
        test = splits.scenicness.test
        fitting.test(stage, _ordered_loaders(test, splits.attributes.test), verbose=False)
        true = {"true": test.true_scores()} if isinstance(test, KnowsTruth) else {}
        return Fitted(
            measured | epochs | _defined(fitting.callback_metrics, "test_", "test_"), {**stage.seen(), **true}
        )


class BestEpoch(Callback):
    """Keep the state of the trained module's network at the lowest value of `monitor`, and give it back at the end.

    `measured` are the logged values of that epoch, whose number is `epoch`, from 1.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self.measured: dict[str, Tensor] = {}
        self.epoch = 0
        self._state: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logged = trainer.callback_metrics
        if not self._state or logged[self.monitor] < self.measured[self.monitor]:
            self.measured, self.epoch = dict(logged), trainer.current_epoch + 1
            self._state = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.load_state_dict(self._state)


def _ordered_loaders(*sets: Any) -> list[DataLoader]:
    return [loader(images, 64) for images in sets]


def _defined(measured: Mapping[str, Tensor], logged: str, name: str) -> dict[str, float]:
    """Return the logged measures that are not NaN, with the prefix `logged` replaced by `name`."""
    found = {key: float(value) for key, value in measured.items() if key.startswith(logged)}
    return {key.replace(logged, name, 1): value for key, value in found.items() if value == value}


def parts_of(stage: str, network: nn.Module) -> tuple[str, ...]:
    """Return the names of the parts of `network` that a stage trains."""
    if isinstance(network, HasAttributeMaps):
        return PARTS[stage]
    return ("scenicness",) if stage == "scenicness" else ("backbone", "scenicness")
