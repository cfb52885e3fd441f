"""Networks of torchvision and timm, and published weights, also those of `evident.models.hugging_face`.

The weights of a network are named by one line of its config (`weights`) and are part of its identity:

    file 0f3a...                               EVIDENT_DATA/weights/<architecture>.safetensors, with its SHA-256
    IMAGENET1K_V1 squeezenet1_1-b8a52dc0.pth   torchvision's, downloaded once and checked by torch.hub
    timm 1.0.31                                timm's, downloaded once by that version of timm
    folder 0f3a...                             those in a local folder, of timm (local-dir:FOLDER) or transformers
    hub 5dca96d                                those of Hugging Face's hub at that commit
    random                                     the initial weights for seed 0, for tests
"""

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
from evident.models.checkpoint import digest_of
from evident.models.hugging_face import HuggingFaceClassifier, folder_digest, folder_of, is_folder
from evident.models.normalise import Normalise

State = dict[str, Tensor]
_LOCAL = "local-dir:"  # before a folder with a network of timm's


def _torchvision_weights(architecture: str) -> dict[str, WeightsEnum]:
    """Return all weights that torchvision publishes for a classifier, by name, oldest first."""
    if architecture not in list_models(torchvision.models):
        raise UserError(
            f"architecture={architecture} is not a torchvision classifier; use one of "
            f"{', '.join(list_models(torchvision.models))}"
        )
    return dict(get_model_weights(architecture).__members__)


class TorchvisionClassifier(nn.Module):
    """Compute class scores (N, classes) of images (N, 3, H, W) in [0, 1] with a torchvision network.

    Mean and standard deviation are those of its oldest published weights; `settings` are passed to torchvision. Raises
    `UserError` for an unknown architecture.
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
        """Return torchvision's `weights`, downloaded unless they are in torch's hub folder.

        Raises `UserError` for an unknown name.
        """
        known = _torchvision_weights(self.architecture)
        if weights not in known:
            names = ", ".join(("file", "random", *known))
            raise UserError(f"model.weights={weights} is unknown for {self.architecture}; use one of {names}")
        # Torchvision's builder drops auxiliary classifiers and renames the keys of older files.
        return get_model(self.architecture, weights=known[weights]).state_dict()


class TimmClassifier(nn.Module):
    """Compute class scores (N, classes) of images (N, 3, H, W) in [0, 1] with a timm network.

    Mean and standard deviation are those of its pretrained config; `settings` are passed to timm. Raises `UserError`
    if timm is not installed or does not know the architecture.
    """

    def __init__(self, architecture: str, classes: int, **settings: Any) -> None:
        super().__init__()
        try:
            import timm
        except ImportError:
            raise UserError(
                f"architecture={architecture} needs timm, which is not installed; run pip install '.[hub]'"
            ) from None
        self.architecture = architecture
        if architecture.startswith(_LOCAL):
            architecture = f"{_LOCAL}{Path(architecture.removeprefix(_LOCAL)).expanduser()}"
        try:
            network: Any = timm.create_model(architecture, num_classes=classes, **settings)
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            raise UserError(
                f"architecture={architecture} is unknown to timm ({error}); use a name of timm.list_models(), or "
                "local-dir:FOLDER"
            ) from error
        self.normalise = Normalise(*(network.pretrained_cfg[key] for key in ("mean", "std")))
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalise(images))

    def published(self, weights: str) -> State:
        """Return timm's weights, downloaded unless they are in its cache."""
        import timm

        return timm.create_model(self.architecture, pretrained=True).state_dict()


Pretrained = TorchvisionClassifier | TimmClassifier | HuggingFaceClassifier


def weights_of(
    root: Path | str,
    architecture: str,
    library: Literal["torchvision", "timm", "huggingface"] = "torchvision",
    revision: str = "main",
) -> str:
    """Return the name of the default weights: the file under `root` if it exists, else the published weights."""
    if library == "huggingface":
        folder = folder_of(architecture, revision)
        # The hub's cache has a folder for each commit.
        return f"folder {folder_digest(folder)}" if is_folder(architecture) else f"hub {folder.name}"
    if architecture.startswith(_LOCAL):
        return f"folder {folder_digest(Path(architecture.removeprefix(_LOCAL)).expanduser())}"
    if (file := _file(Path(root), architecture)).is_file():
        return f"file {digest_of(file)}"
    if library == "timm":
        try:
            return f"timm {version('timm')}"
        except PackageNotFoundError:
            return "timm"
    # Papers on explanations use the oldest weights.
    weights = next(iter(_torchvision_weights(architecture).values()))
    return f"{weights.name} {weights.url.rsplit('/')[-1]}"


def load_weights(network: Pretrained, weights: str, root: Path) -> None:
    """Load `weights`, named as in the module docstring, into `network`.

    Half precision is converted to the network's precision. Raises `UserError` for weights that are missing and cannot
    be downloaded, that are damaged, or that differ from the network in a name or a shape.
    """
    kind, file = weights.split()[0], _file(root, network.architecture)
    if kind == "random":
        return
    state = _read(file) if kind == "file" else _download(network, kind, file)
    own = {name: tuple(value.shape) for name, value in network.network.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    wrong = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
    if wrong:
        shapes = f"{given.get(wrong[0], 'absent')} in the weights, {own.get(wrong[0], 'absent')} in the network"
        raise UserError(
            f"model.weights={weights} does not fit {network.architecture}: {len(wrong)} names or shapes differ, first "
            f"{wrong[0]}, {shapes}; use other weights, the data set of these weights, or model.weights=null to train it"
        )
    network.network.load_state_dict(state)


def _file(root: Path, architecture: str) -> Path:
    return root / "weights" / f"{architecture}.safetensors"


def _read(file: Path) -> State:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} cannot be read ({error}); download it again or use other model.weights") from error


def _download(network: Pretrained, weights: str, file: Path) -> State:
    try:
        with torch.random.fork_rng():
            return network.published(weights)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"model.weights={weights} of {network.architecture} is not on this machine and could not be downloaded "
            f"({error}); run once with a network connection, or, for torchvision and timm, save the weights as {file}"
        ) from error
