"""Image classifiers of Hugging Face's transformers, from a local folder or the hub.

`architecture` is a folder that `save_pretrained` wrote, or a name on the hub, ORG/NAME, at a `revision`. Code that a
repository brings along is never run.
"""

import functools
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


def is_folder(architecture: str) -> bool:
    """Return whether `architecture` is a local folder rather than a name on the hub."""
    return Path(architecture).expanduser().is_dir()


@functools.cache
def folder_of(architecture: str, revision: str = "main") -> Path:
    """Return the folder with a network's config and weights: its own, or that of the hub's cache.

    Downloads from the hub what the cache lacks. The hub is asked once in a process, so that the network is the one that
    names the cells. Raises `UserError` if that is impossible.
    """
    if is_folder(architecture):
        return Path(architecture).expanduser()
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
    files = sorted({file for kind in (*WEIGHTS, "*.json") for file in folder.glob(kind)})
    lines = [f"{file.name} {_digest(file, file.stat().st_mtime_ns, file.stat().st_size)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@functools.cache
def _digest(file: Path, changed: int, size: int) -> str:
    """Return the SHA-256 of a file, computed once for each time and size: a sweep asks for every cell."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def names_file(architecture: str, revision: str = "main") -> str:
    """Return the file that names the classes of a network."""
    return str(folder_of(architecture, revision) / "config.json")


def name_of(architecture: str) -> str:
    """Return the name of a network for tables: that of its folder, its repository, or itself."""
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
            network = AutoModelForImageClassification.from_config(config, trust_remote_code=False, dtype=torch.float32)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"architecture={architecture} is no image classifier of transformers ({' '.join(str(error).split())}); "
                "give another, or save it as model=checkpoint"
            ) from error
        if config.num_labels != classes:
            raise UserError(
                f"architecture={architecture} has {config.num_labels} classes, the data {classes}; use data=folder "
                "without model.names, or the data set of these classes"
            )
        if mean is None or std is None:
            mean, std = self._colours()
        self.normalise = Normalise(tuple(mean), tuple(std))
        self.network = network

    def _colours(self) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation of the colours, as the image processor states them."""
        file = self.folder / "preprocessor_config.json"
        stated: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        in_bytes = abs(stated.get("rescale_factor", 1 / 255) * 255 - 1) < 1e-3 and stated.get("do_rescale", True)
        # EfficientNet's processor divides by the standard deviation twice, MobileViT's swaps red and blue.
        twice = stated.get("include_top", "EfficientNet" in str(stated.get("image_processor_type")))
        other = twice or stated.get("rescale_offset") or stated.get("do_flip_channel_order")
        complete = not stated.get("do_normalize", True) or {"image_mean", "image_std"} <= stated.keys()
        if not stated or not in_bytes or other or not complete:
            raise UserError(
                f"{file} does not say that colours in [0, 1] are normalised by a mean and a standard deviation; add "
                "+model.build.mean=[0.5,0.5,0.5] and +model.build.std=[0.5,0.5,0.5], with the network's numbers"
            )
        if not stated.get("do_normalize", True):
            return [0.0] * 3, [1.0] * 3
        return stated["image_mean"], stated["image_std"]

    def forward(self, images: Tensor) -> Tensor:
        return self.network(pixel_values=self.normalise(images)).logits

    def published(self, weights: str) -> dict[str, Tensor]:
        """Return the weights in the folder; raise `UserError` if some are missing, which transformers would draw."""
        from transformers import AutoModelForImageClassification
        from transformers.utils.logging import disable_progress_bar, set_verbosity_error

        disable_progress_bar()
        set_verbosity_error()  # what is missing is an error here
        found, loading = AutoModelForImageClassification.from_pretrained(
            self.folder, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
        if missing := sorted(loading["missing_keys"]):
            raise UserError(
                f"{self.folder} lacks {len(missing)} weights of {type(found).__name__}, first {missing[0]}; give a "
                "network that was trained to classify"
            )
        return found.state_dict()


def _missing(architecture: str) -> str:
    return f"architecture={architecture} needs transformers, which is not installed; run pip install '.[hub]'"
