"""Random draws that depend on the image and the seed only: the same in any batch, any order and any process."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Functions of torch that draw, and that methods of others call on the device of the images.
_DRAWS = {
    *(torch.normal, torch.rand, torch.randn, torch.randint, torch.randperm, torch.rand_like, torch.randn_like),
    *(torch.randint_like, torch.bernoulli, torch.multinomial),
}


def image_seed(image: Tensor, seed: int) -> int:
    """Return a 63-bit seed from the run's seed and the bytes of one image (3, H, W)."""
    pixels = image.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{seed} {tuple(pixels.shape)} ".encode() + pixels.numpy().tobytes()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def image_generator(image: Tensor, seed: int) -> torch.Generator:
    """Return a generator on the CPU, seeded by one image (3, H, W) and the run's seed."""
    return torch.Generator().manual_seed(image_seed(image, seed))


def global_state(device: torch.device) -> list[Tensor]:
    """Return the states of the global generators of torch, of the CPU and of `device`, and of NumPy."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda, *_of_numpy(np.random.get_state(legacy=False))]  # noqa: NPY002


def _of_numpy(state: Any) -> list[Tensor]:
    twister = state["state"]
    return [torch.from_numpy(twister["key"].astype(np.int64)), torch.tensor([twister["pos"], state["has_gauss"]])]


@contextmanager
def seeded(image: Tensor, seed: int) -> Iterator[None]:
    """Seed the global generators of torch and NumPy, which captum draws from, for one image inside the block.

    Torch draws on the CPU and moves what it has drawn, so a GPU gets the same numbers. The states of the generators are
    restored afterwards.
    """
    device, number = image.device, image_seed(image, seed)
    before, of_numpy = global_state(device), np.random.get_state()  # noqa: NPY002
    torch.default_generator.manual_seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002
    if image.is_cuda:
        torch.cuda.default_generators[image.get_device()].manual_seed(number)
    try:
        with nullcontext() if device.type == "cpu" else _DrawsOnTheCPU(device):
            yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(of_numpy)  # noqa: NPY002
        if image.is_cuda:
            torch.cuda.set_rng_state(before[1], device)


class _DrawsOnTheCPU(TorchFunctionMode):
    """Draw on the CPU, where a seed gives the same numbers on every machine, and move them to `device`."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func not in _DRAWS or named.get("generator") is not None:
            return func(*args, **named)
        named.pop("device", None)
        args = tuple(value.cpu() if isinstance(value, Tensor) else value for value in args)
        named = {key: value.cpu() if isinstance(value, Tensor) else value for key, value in named.items()}
        return func(*args, **named).to(self._device)
