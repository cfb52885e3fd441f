"""Image classifiers of Hugging Face's transformers, from a local folder or the hub.

`architecture` is a folder that `save_pretrained` wrote, or a name on the hub, ORG/NAME, at a `revision`. Code that a
repository brings along is never run.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.models.normalise import Normalise

WEIGHTS = ("*.safetensors", "*.bin")


def folder_of(architecture: str, revision: str = "main") -> Path:
    """Return the folder with a network's config and weights: its own, or that of the hub's cache.

    Downloads from the hub what the cache lacks. Raises `UserError` if that is impossible.
    """
    if (folder := Path(architecture).expanduser()).is_dir():
        return folder
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(_missing(architecture)) from None
    try:
        return Path(snapshot_download(architecture, revision=revision, allow_patterns=["*.json", *WEIGHTS[:1]]))
    except Exception as error:  # the hub's client raises errors of many libraries
        raise UserError(
            f"architecture={architecture} is no folder, and could not be downloaded from the hub "
            f"({' '.join(str(error).split())[:200]}); give the folder of save_pretrained, or ORG/NAME and a network "
            "connection"
        ) from error


def folder_digest(folder: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of all weights and configs in a folder."""
    digest = hashlib.sha256()
    for file in sorted({file for kind in (*WEIGHTS, "*.json") for file in folder.glob(kind)}):
        with open(file, "rb") as opened:
            digest.update(f"{file.name} {hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def names_file(architecture: str, revision: str = "main") -> str:
    """Return the file that names the classes of a network."""
    return str(folder_of(architecture, revision) / "config.json")


def name_of(architecture: str) -> str:
    """Return the name of a network for tables: that of its folder or repository."""
    return Path(architecture).name


class HuggingFaceClassifier(nn.Module):
    """Compute class scores (N, classes) of images (N, 3, H, W) in [0, 1] with an image classifier of transformers.

    Mean and standard deviation are those of its image processor, unless `mean` and `std` are given. Raises `UserError`
    if transformers is not installed, does not know the architecture, or the network has another number of classes.
    """

    def __init__(
        self,
        architecture: str,
        classes: int,
        revision: str = "main",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.architecture, self.folder = architecture, folder_of(architecture, revision)
        try:
            from transformers import AutoConfig, AutoModelForImageClassification
        except ImportError:
            raise UserError(_missing(architecture)) from None
        try:
            config = AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
            network = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"architecture={architecture} is no image classifier of transformers ({' '.join(str(error).split())}); "
                "give another, or save it as model=checkpoint"
            ) from error
        if config.num_labels != classes:
            raise UserError(
                f"architecture={architecture} has {config.num_labels} classes, the data {classes}; use data=folder "
                "with model.names=null, or the data set of these classes"
            )
        if mean is None or std is None:
            mean, std = self._colours()
        self.normalise = Normalise(tuple(mean), tuple(std))
        self.network = network

    def _colours(self) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation of the colours, as the image processor states them."""
        file = self.folder / "preprocessor_config.json"
        stated: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        in_bytes = abs(stated.get("rescale_factor", 1 / 255) * 255 - 1) < 1e-3
        if not stated or not in_bytes or stated.get("rescale_offset") or not stated.get("do_rescale", True):
            raise UserError(
                f"{file} does not say how colours in [0, 1] are normalised; add +model.build.mean=[0.5,0.5,0.5] and "
                "+model.build.std=[0.5,0.5,0.5] with the network's numbers"
            )
        if not stated.get("do_normalize", True):
            return [0.0] * 3, [1.0] * 3
        return stated["image_mean"], stated["image_std"]

    def forward(self, images: Tensor) -> Tensor:
        return self.network(pixel_values=self.normalise(images)).logits

    def published(self, weights: str) -> dict[str, Tensor]:
        """Return the weights in the folder."""
        from transformers import AutoModelForImageClassification
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        found = AutoModelForImageClassification.from_pretrained(
            self.folder, trust_remote_code=False, dtype=torch.float32
        )
        return found.state_dict()


def _missing(architecture: str) -> str:
    return f"architecture={architecture} needs transformers, which is not installed; run pip install '.[hub]'"
