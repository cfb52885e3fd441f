"""MNIST (LeCun, Cortes, Burges), read from the four official compressed files."""

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import MNIST

from evident.data.download import fetch
from evident.data.images import ImageSet, ImageSplits
from evident.errors import UserError

VALIDATION = 5_000  # the last images of the training file; the test file is only used for testing


def mnist(train: int, val: int, test: int, *, root: Path, store: Path) -> ImageSplits:
    """Return the first `train` and `val` images of the training file's two parts and the first `test` of the test file.

    Files are read from `root/mnist/MNIST/raw`, torchvision's layout. Raises `UserError` if a file is missing and cannot
    be downloaded, is not the official one, or has fewer images than requested.
    """

    def read(name: str) -> Tensor:
        file = root / "mnist" / "MNIST" / "raw" / name
        urls = [mirror + name for mirror in MNIST.mirrors]
        with gzip.open(fetch("mnist", file, urls, dict(MNIST.resources)[name], store / "downloads")) as packed:
            raw = packed.read()
        # IDX format: two zero bytes, the type (8 = uint8), the number of axes, the length of each axis as a big-endian
        # int32, the values.
        axes = raw[3]
        shape = np.frombuffer(raw, ">i4", axes, 4).tolist()
        return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape).copy())

    def split(name: str, part: str, first: int, last: int, count: int) -> ImageSet:
        if not 0 < count <= last - first:
            raise UserError(f"mnist: {name}={count} images requested; request 1 to {last - first}")
        chosen = slice(first, first + count)
        images, labels = read(f"{part}-images-idx3-ubyte.gz"), read(f"{part}-labels-idx1-ubyte.gz")
        names = [f"{part}-{index:05d}" for index in range(first, first + count)]
        return ImageSet(images[chosen].unsqueeze(1), labels[chosen], names)

    end = 60_000 - VALIDATION
    return ImageSplits(
        train=split("train", "train", 0, end, train),
        val=split("val", "train", end, 60_000, val),
        test=split("test", "t10k", 0, 10_000, test),
        classes=tuple("0123456789"),
    )
