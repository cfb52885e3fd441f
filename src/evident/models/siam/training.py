r"""Training of SIAM and its baselines on two data sets, in stages (Marcos et al., ICCV-W 2019).

    attributes    L_sun; trains the backbone and the attribute maps
    scenicness    L_son; trains the score heads only
    joint         both losses; trains everything

The losses are those of `evident.models.siam.stage`. A network without attributes trains on the scores in the first
stage too, so that all networks are trained for the same number of steps. The paper's epoch has 500 steps; the length of
each stage is our choice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.utilities import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader

from evident.contracts import HasAttributeMaps, KnowsTruth
from evident.data.images import loader
from evident.data.scenes.splits import SCORES, SceneSplits
from evident.errors import UserError
from evident.models.fitted import Fitted
from evident.models.normalise import normalisation
from evident.models.siam.batches import Augment, random_batches
from evident.models.siam.scene_network import SceneNetwork
from evident.models.siam.stage import SceneStage

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
    """Train networks of scenes for `stages` (epochs by name), with `steps` per epoch and `batch_size` of each data set.

    Adam's rate rises to `learning_rate` and falls again once per stage. `augment` transforms each training image; parts
    in `frozen` are not trained. Stages of zero epochs are skipped. Raises `UserError` for unknown stages or parts, and
    if no stage has epochs.
    """

    stages: Mapping[str, int]
    steps: int
    batch_size: int = 10
    learning_rate: float = 1e-3
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
        """Return the number of batches that `fit` trains and tests on."""
        tested = _ordered_loaders(splits.scenicness.test, splits.attributes.test)
        return sum(self.stages.values()) * self.steps + sum(map(len, tested))

    def module(self, network: nn.Module, classes: int) -> SceneStage:
        """Return the module that tests `network` on scenes with votes."""
        return SceneStage(network)

    def fit(self, network: nn.Module, splits: SceneSplits, seed: int, trainer: Callable[..., Trainer]) -> Fitted:
        """Train `network` in place; return its defined measures, `val_...` and `test_...`, and its test predictions.

        The predictions are those of `SceneStage.seen` and, if the expected votes on the test scenes are known, `true`
        (N, 2): average and variance. Raises `UserError` unless `network` is a `SceneNetwork`, and
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
        measured = {}
        for name in (stage for stage in PARTS if self.stages.get(stage)):
            parts = [part for part in parts_of(name, network) if part not in self.frozen]
            used = {key: loaders[key] for key, head in HEADS.items() if head in parts}
            if not used:
                raise UserError(
                    f"data.training.frozen={list(self.frozen)} leaves nothing to train in the stage {name}; freeze "
                    "fewer parts or give that stage 0 epochs"
                )
            stage = SceneStage(network, name, parts, self.learning_rate, splits.attribute_names())
            epochs = self.stages[name]
            settings = {"max_epochs": epochs, "check_val_every_n_epoch": epochs, "num_sanity_val_steps": 0}
            validation = _ordered_loaders(splits.scenicness.val, splits.attributes.val)
            fitting = trainer(**settings, log_every_n_steps=min(50, self.steps))
            fitting.fit(stage, CombinedLoader(used, "min_size"), validation)
            measured = _defined(fitting, f"{name}_val_", "val_")
        test = splits.scenicness.test
        fitting.test(stage, _ordered_loaders(test, splits.attributes.test), verbose=False)
        true = {"true": test.true_scores()} if isinstance(test, KnowsTruth) else {}
        return Fitted(measured | _defined(fitting, "test_", "test_"), {**stage.seen(), **true})


def _ordered_loaders(*sets: Any) -> list[DataLoader]:
    return [loader(images, 64) for images in sets]


def _defined(trainer: Trainer, logged: str, name: str) -> dict[str, float]:
    """Return the logged measures that are not NaN, with the prefix `logged` replaced by `name`."""
    found = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith(logged)}
    return {key.replace(logged, name, 1): value for key, value in found.items() if value == value}


def parts_of(stage: str, network: nn.Module) -> tuple[str, ...]:
    """Return the names of the parts of `network` that a stage trains."""
    if isinstance(network, HasAttributeMaps):
        return PARTS[stage]
    return ("scenicness",) if stage == "scenicness" else ("backbone", "scenicness")
