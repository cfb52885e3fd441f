"""Average visualisations of what an explainer has learnt to be relevant."""

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors.torch import save_file

from evident.data.images import ImageSet


class Interpret(Callback):
    """Once the last image is explained, the explainer's `interpret(training_set, images, size)`, if it has any.

    Its fields go to `interpretation.safetensors` in `folder`, pictures as uint8.
    """

    def __init__(self, explainer: Any, training_set: ImageSet, folder: Path, images: int, size: int) -> None:
        self.explainer, self.training_set, self.folder = explainer, training_set, folder
        self.images, self.size = images, size

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        if not hasattr(self.explainer, "interpret"):
            return
        interpretation = self.explainer.interpret(self.training_set, self.images, self.size)
        fields = {
            name: ((value * 255).round().byte() if value.dim() > 2 else value).contiguous()
            for name, value in interpretation._asdict().items()
        }
        save_file(fields, self.folder / "interpretation.safetensors")
