r"""How SIAM and its baselines learn from two data sets, stage by stage (Marcos et al., ICCV-W 2019; PAPERS 3.2).

    attributes    L_sun, the backbone and the attribute maps
    scenicness    L_son, the scores' head alone
    joint         both losses, everything

in the words of `evident.models.siam.stage`. A network without attributes learns the scores in the first stage too, so
that all are trained for as many steps. The paper's epoch is 500 steps; how many a stage has is our choice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.utilities import CombinedLoader
from torch import nn

from evident.data.images import loader
from evident.data.scenes.splits import SCORES, SceneSplits
from evident.errors import UserError
from evident.models.fitted import Fitted
from evident.models.normalise import normalisation
from evident.models.siam.batches import Augment, drawn
from evident.models.siam.stage import SceneStage

# What a stage trains of a network, which learns what it has of these.
PARTS = {
    "attributes": ("backbone", "attribute_layer"),
    "scenicness": ("scenicness",),
    "joint": ("backbone", "attribute_layer", "scenicness"),
}
MEASURED_ON = 2000  # images, for the colour that a backbone without published weights takes for neutral


@dataclass(frozen=True)
class SceneTraining:
    """What a data set of scenes says of training: `stages` in epochs, `steps` an epoch, `batch_size` of each set.

    Adam's `learning_rate` falls to a tenth at the epochs `milestones` of every stage. `augment` is what an image goes
    through before each step; parts in `frozen` never learn. Stages of no epochs are left out. Raises `UserError` for
    unknown stages and parts, and where no stage has epochs.
    """

    stages: Mapping[str, int]
    steps: int
    batch_size: int = 10
    learning_rate: float = 1e-3
    milestones: Sequence[int] = (10, 20)
    augment: Augment | None = None
    frozen: Sequence[str] = ()

    def __post_init__(self) -> None:
        for key, given, known in (("stages", self.stages, PARTS), ("frozen", self.frozen, PARTS["joint"])):
            if unknown := [name for name in given if name not in known]:
                raise UserError(f"data.training.{key} has {unknown[0]!r}; use {', '.join(known)}")
        if min(self.stages.values(), default=0) < 0 or not sum(self.stages.values()):
            raise UserError(f"data.training.stages={dict(self.stages)} are no epochs; give one stage 1 or more")

    def batches(self, splits: SceneSplits) -> int:
        """How many batches `fit` trains and tests on."""
        return sum(self.stages.values()) * self.steps + sum(map(len, self._in_order(splits, "test")))

    def module(self, network: nn.Module, classes: int) -> SceneStage:
        """What tests `network` on scenes with votes."""
        return SceneStage(network)

    def fit(self, network: Any, splits: SceneSplits, seed: int, trainer: Callable[..., Trainer]) -> Fitted:
        """Train `network` in place; return its measures, `val_...` and `test_...`, those undefined left out.

        With them what it says of the test scenes, as `SceneStage.seen` has it.

        Raises `UserError` for a network of anything else, and for a stage of which every part is frozen.
        """
        if not hasattr(network, "start_at"):
            raise UserError(
                f"{type(network).__name__} predicts no scenicness; use model=siam, scene_regressor or "
                "unconstrained_attributes"
            )
        scenes: Any = splits.scenicness.train
        network.start_at(torch.stack([scenes.labels[score].float().mean() for score in SCORES]))
        if network.backbone.weights is None:
            normalisation(network).measure(scenes.images[torch.arange(min(len(scenes), MEASURED_ON))])
        sets = {"attributes": splits.attributes.train, "scenicness": scenes}
        loaders = {
            name: drawn(images, self.batch_size, self.steps, seed, self.augment) for name, images in sets.items()
        }
        measured = {}
        for name in (stage for stage in PARTS if self.stages.get(stage)):
            parts = [part for part in parts_of(name, network) if part not in self.frozen]
            heads = {"attributes": "attribute_layer", "scenicness": "scenicness"}
            wanted = {key: loaders[key] for key, head in heads.items() if head in parts}
            if not wanted:
                raise UserError(f"data.training.frozen={list(self.frozen)} leaves the stage {name} nothing to learn")
            stage = SceneStage(network, name, parts, self.learning_rate, self.milestones, splits.attribute_names)
            epochs = self.stages[name]
            settings = {"max_epochs": epochs, "check_val_every_n_epoch": epochs, "num_sanity_val_steps": 0}
            fitting = trainer(**settings, log_every_n_steps=min(50, self.steps))
            fitting.fit(stage, CombinedLoader(wanted, "min_size"), self._in_order(splits, "val"))
            measured = _named(fitting, f"{name}_val_", "val_")
        fitting.test(stage, self._in_order(splits, "test"), verbose=False)
        return Fitted(measured | _named(fitting, "test_", "test_"), stage.seen())

    @staticmethod
    def _in_order(splits: SceneSplits, split: str) -> list[Any]:
        return [loader(getattr(scenes, split), 64) for scenes in (splits.scenicness, splits.attributes)]


def _named(trainer: Trainer, logged: str, name: str) -> dict[str, float]:
    """The measures of the last validation or test that are defined."""
    found = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith(logged)}
    return {key.replace(logged, name, 1): value for key, value in found.items() if value == value}


def parts_of(stage: str, network: nn.Module) -> tuple[str, ...]:
    """The parts of `network` that the stage trains."""
    if hasattr(network, "attribute_layer"):
        return PARTS[stage]
    return ("scenicness",) if stage == "scenicness" else ("backbone", "scenicness")
