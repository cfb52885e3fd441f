"""Random draws that depend on the image and the seed only: the same in any batch, any order and any process."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def image_seed(image: Tensor, seed: int) -> int:
    """Return a 63-bit seed from the run's seed and the bytes of one image (3, H, W)."""
    pixels = image.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{seed} {tuple(pixels.shape)} ".encode() + pixels.numpy().tobytes()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def image_generator(image: Tensor, seed: int) -> torch.Generator:
    """Return a generator on the CPU, seeded by one image (3, H, W) and the run's seed."""
    return torch.Generator().manual_seed(image_seed(image, seed))


def global_state(device: torch.device) -> list[Tensor]:
    """Return the states of torch's global generators, of the CPU and of `device`."""
    return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


@contextmanager
def seeded(image: Tensor, seed: int) -> Iterator[None]:
    """Seed torch's global generators for one image inside the block, and restore their states afterwards."""
    state = global_state(image.device)
    torch.default_generator.manual_seed(image_seed(image, seed))
    if image.is_cuda:
        torch.cuda.default_generators[image.get_device()].manual_seed(image_seed(image, seed))
    try:
        yield
    finally:
        torch.set_rng_state(state[0])
        if image.is_cuda:
            torch.cuda.set_rng_state(state[1], image.device)
