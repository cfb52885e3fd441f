"""Networks of torchvision's and timm's, and the weights that others have published for them.

Which weights a network gets, one line of its config (`weights`), is part of its identity:

    file 0f3a...                               EVIDENT_DATA/weights/<architecture>.safetensors, by its SHA-256
    IMAGENET1K_V1 squeezenet1_1-b8a52dc0.pth   torchvision's, downloaded once and checked by torch.hub
    timm 1.0.31                                timm's, downloaded once by that version of it
    random                                     none, as generator seed 0 starts it: for tests
"""

import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model, get_model_weights, list_models

from evident.errors import UserError
from evident.models.normalise import Normalise

State = dict[str, Tensor]


def _torchvision_weights(architecture: str) -> dict[str, WeightsEnum]:
    """All that torchvision publishes for a classifier, by name, the oldest first."""
    if architecture not in list_models(torchvision.models):
        raise UserError(
            f"architecture={architecture} is no classifier of torchvision's; use one of "
            f"{', '.join(list_models(torchvision.models))}"
        )
    return dict(get_model_weights(architecture).__members__)


class TorchvisionClassifier(nn.Module):
    """Class scores (N, classes) of images (N, 3, H, W) in [0, 1] by torchvision's network of that name.

    Mean and standard deviation are those of its oldest published weights; `settings` go to torchvision. Raises
    `UserError` for a network that torchvision does not have.
    """

    def __init__(self, architecture: str, classes: int, **settings: Any) -> None:
        super().__init__()
        self.architecture = architecture
        transforms = next(iter(_torchvision_weights(architecture).values())).transforms()
        self.normalise = Normalise(tuple(transforms.mean), tuple(transforms.std))
        self.network = get_model(architecture, weights=None, num_classes=classes, **settings)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalise(images))

    def published(self, weights: str) -> State:
        """The weights of that name, downloaded where they are not in torch's hub folder yet."""
        known = _torchvision_weights(self.architecture)
        if weights not in known:
            names = ", ".join(("file", "random", *known))
            raise UserError(f"model.weights={weights} are unknown for {self.architecture}; use {names}")
        # By torchvision's own builder, which drops auxiliary classifiers and renames the keys of older files.
        return get_model(self.architecture, weights=known[weights]).state_dict()


class TimmClassifier(nn.Module):
    """Class scores (N, classes) of images (N, 3, H, W) in [0, 1] by timm's network of that name.

    Mean and standard deviation are its own; `settings` go to timm. Raises `UserError` where timm is not installed.
    """

    def __init__(self, architecture: str, classes: int, **settings: Any) -> None:
        super().__init__()
        try:
            import timm
        except ImportError:
            raise UserError(f"{architecture} is of timm, which is not installed; pip install timm") from None
        self.architecture = architecture
        try:
            network = timm.create_model(architecture, num_classes=classes, **settings)
        except RuntimeError as error:
            raise UserError(
                f"architecture={architecture} is unknown ({error}); timm.list_models() lists all"
            ) from error
        self.normalise = Normalise(*(network.pretrained_cfg[key] for key in ("mean", "std")))
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalise(images))

    def published(self, weights: str) -> State:
        """Timm's own weights, downloaded where they are not in its cache yet."""
        import timm

        return timm.create_model(self.architecture, pretrained=True).state_dict()


Pretrained = TorchvisionClassifier | TimmClassifier


def weights_of(root: Path | str, architecture: str, library: Literal["torchvision", "timm"] = "torchvision") -> str:
    """The weights that a network gets unless told otherwise: those in the file under `root`, else published ones."""
    if (file := _file(Path(root), architecture)).is_file():
        return f"file {_digest(file)}"
    if library == "timm":
        try:
            return f"timm {version('timm')}"
        except PackageNotFoundError:
            return "timm"
    # The oldest ones are those that papers on explanations take.
    weights = next(iter(_torchvision_weights(architecture).values()))
    return f"{weights.name} {weights.url.rsplit('/')[-1]}"


def load_weights(network: Pretrained, weights: str, root: Path) -> None:
    """Give the network the `weights`, as the head of this file names them.

    Half precision becomes the network's own. Raises `UserError` for weights that are neither here nor can be
    downloaded, that are damaged, or of which a name or a shape is not the network's.
    """
    kind, file = weights.split()[0], _file(root, network.architecture)
    if kind == "random":
        return
    state = _read(file) if kind == "file" else _download(network, kind, file)
    own = {name: tuple(value.shape) for name, value in network.network.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    wrong = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
    if wrong:
        first = f"{wrong[0]} is {given.get(wrong[0], 'missing')} and not {own.get(wrong[0], 'wanted')}"
        raise UserError(
            f"the weights {weights} do not fit {network.architecture}: {len(wrong)} names or shapes differ, {first}; "
            "take other weights, the data set that they are for, or train by model.weights=null"
        )
    network.network.load_state_dict(state)


def _file(root: Path, architecture: str) -> Path:
    return root / "weights" / f"{architecture}.safetensors"


@functools.cache
def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def _read(file: Path) -> State:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} cannot be read ({error}); fetch it again, or choose other model.weights") from error


def _download(network: Pretrained, weights: str, file: Path) -> State:
    try:
        with torch.random.fork_rng():
            return network.published(weights)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{network.architecture}: its weights {weights} are not on this machine and could not be downloaded "
            f"({error}); run it once with a network connection, or put them into {file}"
        ) from error
