"""Imagenette: labels among ImageNet's classes, splits, and errors."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evident.data.composites import grids
from evident.data.imagenet import class_names
from evident.data.imagenette import LABELS, imagenette, source_of
from evident.data.images import ImageSplits, loader
from evident.errors import UserError


def write(root: Path, split: str, synset: str, number: int, side: int = 8) -> None:
    name = f"{synset}_{number}" if split == "train" else f"ILSVRC2012_val_{number:08d}"
    path = root / "imagenette" / split / synset / f"{name}.JPEG"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)


def write_all(root: Path, images: int = 2) -> None:
    for position, synset in enumerate(LABELS):
        for image in range(images):
            write(root, "train", synset, position + 10 * image)
            write(root, "val", synset, position + 10 * image)


def read(root: Path, val: int = 4, size: int = 8) -> ImageSplits:
    return imagenette(val, size, root=root, store=root)


def test_labels_are_positions_among_all_classes_of_imagenet(tmp_path: Path) -> None:
    write_all(tmp_path)
    splits = read(tmp_path)
    labels = list(LABELS.values())
    assert splits.train.labels.tolist() == [label for label in labels for _ in range(2)]
    assert splits.test.labels.tolist() == (labels * 2)[:16]
    assert splits.val.labels.tolist() == (labels * 2)[16:]
    assert [splits.class_names()[label] for label in labels[:4]] == [
        *("tench", "English springer", "cassette player", "chain saw"),
    ]
    assert splits.class_names() == class_names()


def test_images_are_resized_and_cropped_to_the_size_of_the_networks(tmp_path: Path) -> None:
    write_all(tmp_path)
    assert read(tmp_path, size=6).train.images.shape == (20, 3, 6, 6)
    [batch] = loader(read(tmp_path, size=8).train.rows(slice(1)), 1)
    [path] = (tmp_path / "imagenette" / "train").rglob("n01440764_0.JPEG")
    assert torch.equal((batch["image"][0] * 255).round(), torch.tensor(np.asarray(Image.open(path))).movedim(2, 0))


def test_images_that_networks_have_learnt_from_are_no_test_images(tmp_path: Path) -> None:
    write_all(tmp_path)
    [one] = (tmp_path / "imagenette" / "val").rglob("ILSVRC2012_val_00000000.JPEG")
    one.rename(one.with_name("n01440764_77.JPEG"))
    splits = read(tmp_path, val=0)
    assert len(splits.test) == 19
    assert all(name.startswith("ILSVRC2012_val_") for name in splits.test.names)


def test_grid_marks_the_quarter_of_its_class(tmp_path: Path) -> None:
    write_all(tmp_path)
    made = grids(read(tmp_path, val=0), seed=0).test
    [batch] = loader(made.rows(slice(4)), 4)
    assert batch["image"].shape == (4, 3, 16, 16)
    assert torch.equal(batch["mask"], batch["tile"])
    assert batch["mask"].float().mean((1, 2)).tolist() == [0.25] * 4
    assert torch.equal(batch["mask"].sum(0), torch.ones(16, 16, dtype=torch.long))
    assert torch.equal(batch["other"], ~batch["mask"])


def test_missing_images_are_an_error_that_says_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"imagenette: .*train has no .*imagenette2-320 of fast.ai.*EVIDENT_DATA"):
        read(tmp_path)
    assert source_of(tmp_path) == "missing"
    write(tmp_path, "train", next(iter(LABELS)), 0)
    with pytest.raises(UserError, match=r"imagenette: .*val has no <synset>/ILSVRC2012_val_\*.JPEG"):
        read(tmp_path)


def test_unknown_class_and_too_many_held_out_images_are_errors(tmp_path: Path) -> None:
    write_all(tmp_path, images=1)
    with pytest.raises(UserError, match="imagenette: val=10 of 10 images cannot be held out; use 0 to 9"):
        read(tmp_path, val=10)
    write(tmp_path, "train", "n00000000", 1)
    with pytest.raises(UserError, match=r"train/n00000000 is none of its classes, n01440764"):
        read(tmp_path)


@pytest.mark.real_data
def test_real_images_are_complete_and_their_classes_are_those_of_imagenet(tmp_path: Path) -> None:
    root = Path(os.environ["EVIDENT_DATA"])
    splits = imagenette(100, 224, root=root, store=tmp_path)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (3000, 100, 394)
    assert splits.train.labels.unique(return_counts=True)[1].tolist() == [300] * 10
    assert set(splits.test.labels.tolist()) == set(splits.val.labels.tolist()) == set(LABELS.values())
    assert set(splits.test.names).isdisjoint([*splits.val.names, *splits.train.names])
    lines = (root / "imagenet" / "synsets.txt").read_text().splitlines()
    synsets = [line.split("\t")[0] for line in lines]
    assert {synset: synsets.index(synset) for synset in LABELS} == LABELS
