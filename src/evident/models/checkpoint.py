"""Networks of the user: their weights from any file, their inputs and outputs as explainers expect them.

Explainers give images (N, 3, H, W) in [0, 1], need class scores (N, classes) whose softmax are probabilities, and
start from the network's neutral colour. `OwnNetwork` makes a network of the user do that:

    mean, std       what the network wants subtracted from the colours, and divided by
    reference       its neutral colour instead, where the network normalises on its own
    output          the key or position of the scores, of a network that returns several things
    gives           `logits` or `probabilities`; of a single output for two classes they are those of the second class
"""

import functools
import hashlib
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from evident.errors import UserError, warn_once
from evident.models.normalise import NeutralColour, Normalise

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt")
# Keys below which training scripts save weights.
INSIDE = ("state_dict", "model_state_dict", "model", "network", "net", "weights")
PUBLISHED = re.compile(r"[A-Z0-9_]+ [\w.-]+")  # torchvision's: IMAGENET1K_V1 squeezenet1_1-b8a52dc0.pth
SMALLEST = 1e-12  # probability, so that its logarithm is finite
State = dict[str, Tensor]


def is_file(weights: str) -> bool:
    """Return whether `weights` names a file of the user rather than published weights."""
    own = Path(weights).is_file() or not PUBLISHED.fullmatch(weights)
    return Path(weights).suffix.lower() in SUFFIXES and own


@functools.cache
def digest_of(file: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a file, which names its weights."""
    if not file.is_file():
        raise UserError(f"model.weights={file} is not a file; give the path of a checkpoint")
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def read_state(file: Path) -> State:
    """Read weights saved by `torch.save`, Lightning or safetensors, as tensors by name.

    Only tensors and plain values are unpickled. Raises `UserError` for a file that is missing, damaged, or holds
    something else.
    """
    try:
        if file.suffix.lower() == ".safetensors":
            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{file} holds more than weights, such as a whole network, which is not loaded because it could run any "
            "code; save network.state_dict() instead"
        ) from error
    except (OSError, RuntimeError, SafetensorError, EOFError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({' '.join(str(error).split())[:200]}); save it again") from error
    for key in INSIDE:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    state = {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not state:
        raise UserError(f"{file} holds no weights by name; save network.state_dict()")
    return state


def load_state(network: nn.Module, state: Mapping[str, Tensor], file: Path | str) -> None:
    """Load weights whose names may have a prefix of another wrapper, such as `module.` or `model.`.

    The prefix is the one with which most names and shapes fit. Warns of weights that are not used. Raises `UserError`
    if a weight is missing or has another shape.
    """
    own = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    prefixes = {"", *(name[: place + 1] for name in state for place, sign in enumerate(name) if sign == ".")}

    def fitting(prefix: str) -> int:
        return sum(prefix + name in state and state[prefix + name].shape == value.shape for name, value in own.items())

    prefix = max(sorted(prefixes, key=len), key=fitting)
    given = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    wrong = [name for name, value in own.items() if name not in given or given[name].shape != value.shape]
    if wrong:
        name = wrong[0]
        shapes = f"{tuple(given[name].shape) if name in given else 'absent'} in {file}, {tuple(own[name].shape)} in the"
        raise UserError(
            f"{file} does not fit {type(network).__name__}: {len(wrong)} of {len(own)} weights differ, first {name}, "
            f"{shapes} network; build the network as it was trained (model.build), with as many classes (model.names)"
        )
    if unused := sorted(state.keys() - {prefix + name for name in network.state_dict()}):
        warn_once(f"{file}: {len(unused)} of {len(state)} weights are not used, first {unused[0]}")
    network.load_state_dict({name: given.get(name, value) for name, value in network.state_dict().items()})


class OwnNetwork(nn.Module):
    """Compute class scores (N, classes) of images (N, 3, H, W) in [0, 1] with a network of the user.

    The settings are those of the module docstring; `check` finds out whether they are right.
    """

    def __init__(
        self,
        network: nn.Module,
        classes: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        reference: Sequence[float] | None = None,
        output: str | int | None = None,
        gives: Literal["logits", "probabilities"] = "logits",
    ) -> None:
        super().__init__()
        if (mean is None) != (std is None) or (mean is not None and reference is not None):
            raise UserError("give both model.own.mean and model.own.std, or model.own.reference alone")
        if gives not in ("logits", "probabilities"):
            raise UserError(f"model.own.gives={gives} is unknown; use logits or probabilities")
        self.classes, self.output, self.gives = classes, output, gives
        if mean is not None and std is not None:
            self.normalise: nn.Module = Normalise(tuple(mean), tuple(std))
        elif reference is not None:
            self.normalise = NeutralColour(tuple(reference))
        else:
            self.normalise = nn.Identity()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        values = self._values(images)
        if self.gives == "probabilities":
            values = values.clamp(SMALLEST, 1 - SMALLEST) if self._single(values) else values.clamp(min=SMALLEST)
            if self._single(values):
                second = values.view(-1)
                return torch.stack([(1 - second).log(), second.log()], 1)
            return values.log()
        if self._single(values):
            return torch.stack([torch.zeros_like(values.view(-1)), values.view(-1)], 1)
        return values

    def _single(self, values: Tensor) -> bool:
        """Return whether there is one output for two classes."""
        return self.classes == 2 and values[0].numel() == 1

    def _values(self, images: Tensor) -> Tensor:
        found: Any = self.network(self.normalise(images))
        if self.output is None:
            return found
        if isinstance(found, Mapping):
            return found[str(self.output)]
        return found[int(self.output)]

    @torch.no_grad()
    def check(self, size: int) -> None:
        """Raise `UserError` if the settings do not describe what the network returns for images of `size` pixels."""
        name = type(self.network).__name__
        draws = torch.rand(6, 3, size, size, generator=torch.Generator().manual_seed(0))
        # Colours far outside tell scores, which grow with them, from probabilities, which do not.
        for place, colour in enumerate((0, 1, 100, -100)):
            draws[place] = colour
        try:
            values: Any = self._values(draws)
        except Exception as error:  # a network of the user may raise anything
            kind = "" if self.output is None else f" or has no model.own.output={self.output}"
            raise UserError(
                f"{name} does not accept images of {size} x {size} pixels{kind} "
                f"({' '.join(str(error).split())[:200]}); set data.size and model.own.output"
            ) from error
        if not isinstance(values, Tensor):
            keys = list(values) if isinstance(values, Mapping) else range(len(values)) if _long(values) else ()
            raise UserError(
                f"{name} returns a {type(values).__name__} with {', '.join(map(str, keys)) or 'no parts'}; say which "
                "part the class scores are: model.own.output=..."
            )
        if values.shape != (6, self.classes) and not (self._single(values) and values.numel() == 6):
            raise UserError(
                f"{name} returns {tuple(values.shape)} for 6 images and {self.classes} classes; give a network of "
                "class scores (N, classes), and the names of its classes (model.names=FILE.json)"
            )
        within = bool((values >= 0).all() and (values <= 1).all())
        sums = torch.ones(()) if self._single(values) else values.sum(1)
        probabilities = within and bool(torch.allclose(sums, torch.ones_like(sums), atol=1e-3))
        if probabilities and self.gives == "logits":
            raise UserError(
                f"{name} returns probabilities (0 to 1, with a sum of 1); give model.own.gives=probabilities"
            )
        if not probabilities and self.gives == "probabilities":
            raise UserError(f"{name} returns no probabilities (0 to 1, with a sum of 1); give model.own.gives=logits")


def _long(values: Any) -> bool:
    return isinstance(values, tuple | list)
