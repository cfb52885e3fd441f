"""Two images side by side: which, with what labels and masks, and whose network looks at them."""

import os
from pathlib import Path

import pytest
import torch
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor

from evident import cell, cli
from evident.data.composites import composites
from evident.data.images import ImageSet, Splits, loader
from evident.models import training


def images(labels: list[int], masks: bool = True) -> ImageSet:
    """Image n is n all over but for its mask, its n-th row (of 40)."""
    number = torch.arange(len(labels))
    pixels = number[:, None, None, None].expand(-1, 3, 40, 5).byte()
    marked = (torch.arange(40)[:, None] == number[:, None, None]).expand(-1, 40, 5) if masks else None
    return ImageSet(pixels, torch.tensor(labels), [f"image{n}" for n in number.tolist()], marked)


def splits(labels: list[int], masks: bool = True) -> Splits:
    whole = images(labels, masks)
    return Splits(whole, whole.first(4), whole, ("a", "b", "c"))


def batch(split: ImageSet) -> dict[str, Tensor]:
    [whole] = loader(split, len(split))
    return whole


LABELS = [0, 1, 2, 2, 1, 0, 1, 2, 0, 0, 2, 1] * 3


def test_a_pair_is_there_for_the_class_of_either_side() -> None:
    made = composites(splits(LABELS), seed=0).test
    whole = batch(made)
    assert whole["image"].shape == (len(made), 3, 40, 10)
    numbers = (whole["image"][:, 0, 0] * 255).round().long()
    left, right = numbers[:, 0], numbers[:, 5]
    assert (numbers == torch.cat([left[:, None].expand(-1, 5), right[:, None].expand(-1, 5)], 1)).all()
    classes = torch.tensor(LABELS)
    assert torch.equal(whole["label"][::2], classes[left[::2]])
    assert torch.equal(whole["label"][1::2], classes[right[1::2]])
    assert torch.equal(left[::2], left[1::2])
    assert (classes[left] != classes[right]).all()
    assert made.names[0] == f"image{left[0]}+image{right[0]} left"
    assert made.names[1] == f"image{left[0]}+image{right[0]} right"


def test_masks_are_of_the_labelled_object_and_others_of_the_one_beside_it() -> None:
    whole = batch(composites(splits(LABELS), seed=0).test)
    numbers = (whole["image"][:, 0, 0] * 255).round().long()
    for n, (mask, other) in enumerate(zip(whole["mask"], whole["other"], strict=True)):
        expected = [torch.zeros(40, 10, dtype=torch.bool) for _ in range(2)]
        expected[0][numbers[n, 0], :5] = True
        expected[1][numbers[n, 5], 5:] = True
        own, beside = expected if n % 2 == 0 else expected[::-1]
        assert torch.equal(mask, own)
        assert torch.equal(other, beside)


def test_no_image_is_in_two_pairs_and_all_pairs_of_classes_occur() -> None:
    made = composites(splits(LABELS), seed=0).test
    numbers = (batch(made)["image"][::2, 0, 0, ::5] * 255).round().long()
    assert len(numbers.unique()) == numbers.numel()
    assert len(made) >= len(LABELS) // 2
    pairs = {tuple(sorted(pair)) for pair in torch.tensor(LABELS)[numbers].tolist()}
    assert pairs == {(0, 1), (0, 2), (1, 2)}
    assert len(set(made.names)) == len(made)


def test_the_seed_alone_decides_the_pairs() -> None:
    names = [composites(splits(LABELS), seed).test.names for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_what_is_learnt_is_learnt_from_single_images() -> None:
    base = splits(LABELS)
    made = composites(base, seed=0)
    assert made.train is base.train
    assert made.classes == base.classes
    assert 0 < len(made.val) <= 4


@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [0]])
def test_without_two_classes_there_are_no_pairs(labels: list[int]) -> None:
    base = Splits(*[images(labels)] * 3, ("a", "b"))
    assert len(composites(base, seed=0).test) == 0


def test_the_first_rows_are_the_first_rows() -> None:
    made = composites(splits(LABELS), seed=0).test
    few = made.first(5)
    assert few.images.shape == (5, 3, 40, 10)
    assert few.masks.shape == (5, 40, 10)
    for key, rows in batch(few).items():
        assert torch.equal(rows, batch(made)[key][:5])


def test_without_masks_there_are_none() -> None:
    assert not {"mask", "other"} & batch(composites(splits(LABELS, masks=False), seed=0).test).keys()


def config(store: Path, *overrides: str) -> DictConfig:
    cli.prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", ["scale=smoke", f"paths.store={store}", *overrides])


@pytest.mark.parametrize(
    ("data", "base", "experiment"),
    [
        ("an8flower_composites", "an8flower_single_6c", "an8flower"),
        ("imagenet_composites", "imagenet", "imagenet"),
    ],
)
def test_the_network_is_that_of_the_single_images(tmp_path: Path, data: str, base: str, experiment: str) -> None:
    paired, single = (config(tmp_path, f"experiment={experiment}", f"data={name}") for name in (data, base))
    assert paired.data.name == data
    assert training.identity(paired) == training.identity(single)
    assert cell.identity(paired) != cell.identity(single)
    other_pairs = config(tmp_path, f"experiment={experiment}", f"data={data}", "data.build.seed=1")
    assert cell.identity(other_pairs) != cell.identity(paired)
    assert training.identity(other_pairs) == training.identity(single)


def test_a_network_is_trained_on_the_single_images_and_explained_on_the_pairs(tmp_path: Path) -> None:
    settings = config(tmp_path, "data=an8flower_composites", "metric=[discrimination]", "logger=none", "threads=1")
    made = cell.load_data(settings)
    assert made.test.images.shape[1:] == (3, 112, 224)
    assert made.train.images.shape == (48, 3, 112, 112)
    cell.run(settings)
    assert not list(tmp_path.glob("cells/*/FAILED"))
    assert len(list(tmp_path.glob("models/*/DONE"))) == 1
    single = config(tmp_path, "threads=1")

    def nothing() -> Splits:
        raise AssertionError("a second network was trained")

    assert set(training.trained(single, nothing, []).accuracy) == {"val", "test"}


@pytest.mark.real_data
def test_real_photographs_stand_side_by_side(tmp_path: Path) -> None:
    overrides = ("experiment=imagenet", "data=imagenet_composites", f"paths.data={os.environ['EVIDENT_DATA']}")
    made = cell.load_data(config(tmp_path, *overrides))
    assert 480 <= len(made.test) <= 500
    whole = batch(made.test.first(4))
    assert whole["image"].shape == (4, 3, 224, 448)
    assert torch.equal(whole["image"][0], whole["image"][1])
    assert torch.equal(whole["mask"][0], whole["other"][1])
    assert whole["label"][0] != whole["label"][1]
    assert not whole["mask"][0, :, 224:].any()
