"""MNIST (LeCun, Cortes, Burges): the four official files, read as they are packed."""

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import MNIST

from evident.data.download import fetch
from evident.data.images import ImageSet, Splits
from evident.errors import UserError

VALIDATION = 5_000  # the last digits of the training file; the test file is for testing alone


def mnist(train: int, val: int, test: int, *, root: Path, store: Path) -> Splits:
    """The first `train` and `val` digits of the two parts of the training file and the first `test` of the test file.

    Files are looked for in `root/mnist/MNIST/raw`, torchvision's layout. Raises `UserError` where a file is
    missing and cannot be downloaded, is not the official one, or holds fewer digits than asked for.
    """

    def read(name: str) -> Tensor:
        file = root / "mnist" / "MNIST" / "raw" / name
        urls = [mirror + name for mirror in MNIST.mirrors]
        with gzip.open(fetch("mnist", file, urls, dict(MNIST.resources)[name], store / "downloads")) as packed:
            raw = packed.read()
        # idx: two zero bytes, a type (8 = uint8), the number of axes, each axis as a big-endian int32, the values.
        axes = raw[3]
        shape = np.frombuffer(raw, ">i4", axes, 4).tolist()
        return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape).copy())

    def split(name: str, part: str, first: int, last: int, count: int) -> ImageSet:
        if not 0 < count <= last - first:
            raise UserError(f"mnist: {name}={count} digits asked for; 1 to {last - first} are there")
        chosen = slice(first, first + count)
        images, labels = read(f"{part}-images-idx3-ubyte.gz"), read(f"{part}-labels-idx1-ubyte.gz")
        names = [f"{part}-{index:05d}" for index in range(first, first + count)]
        return ImageSet(images[chosen].unsqueeze(1), labels[chosen], names)

    end = 60_000 - VALIDATION
    return Splits(
        train=split("train", "train", 0, end, train),
        val=split("val", "train", end, 60_000, val),
        test=split("test", "t10k", 0, 10_000, test),
        classes=tuple("0123456789"),
    )
