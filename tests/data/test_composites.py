"""Composites: pairs, grids, labels, masks, and the network that is shared with the single images."""

import os
from pathlib import Path

import pytest
import torch
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor

from evident import cell, cli
from evident.cell_folder import SCORES, CellFolder
from evident.data.composites import composites, grids
from evident.data.images import ImageSet, ImageSplits, loader
from evident.data.loading import load_data
from evident.models.training import NetworkSpec, trained
from evident.request import Request


def images(labels: list[int], masks: bool = True) -> ImageSet:
    """Return images whose pixels all have the value n, with the n-th of 40 rows as mask."""
    number = torch.arange(len(labels))
    pixels = number[:, None, None, None].expand(-1, 3, 40, 5).byte()
    mask = (torch.arange(40)[:, None] == number[:, None, None]).expand(-1, 40, 5) if masks else None
    return ImageSet(pixels, torch.tensor(labels), [f"image{n}" for n in number.tolist()], mask)


def splits(labels: list[int], masks: bool = True) -> ImageSplits:
    image_set = images(labels, masks)
    return ImageSplits(image_set, image_set.block(4), image_set, ("a", "b", "c"))


def batch_of(split: ImageSet) -> dict[str, Tensor]:
    [batch] = loader(split, len(split))
    return batch


LABELS = [0, 1, 2, 2, 1, 0, 1, 2, 0, 0, 2, 1] * 3


def test_each_pair_occurs_once_for_the_class_of_each_side() -> None:
    made = composites(splits(LABELS), seed=0).test
    batch = batch_of(made)
    assert batch["image"].shape == (len(made), 3, 40, 10)
    numbers = (batch["image"][:, 0, 0] * 255).round().long()
    left, right = numbers[:, 0], numbers[:, 5]
    assert (numbers == torch.cat([left[:, None].expand(-1, 5), right[:, None].expand(-1, 5)], 1)).all()
    classes = torch.tensor(LABELS)
    assert torch.equal(batch["label"][::2], classes[left[::2]])
    assert torch.equal(batch["label"][1::2], classes[right[1::2]])
    assert torch.equal(left[::2], left[1::2])
    assert (classes[left] != classes[right]).all()
    assert made.names[0] == f"image{left[0]}+image{right[0]} left"
    assert made.names[1] == f"image{left[0]}+image{right[0]} right"


def test_masks_show_the_labelled_object_and_others_the_object_beside_it() -> None:
    batch = batch_of(composites(splits(LABELS), seed=0).test)
    numbers = (batch["image"][:, 0, 0] * 255).round().long()
    for n, (mask, other) in enumerate(zip(batch["mask"], batch["other"], strict=True)):
        expected = [torch.zeros(40, 10, dtype=torch.bool) for _ in range(2)]
        expected[0][numbers[n, 0], :5] = True
        expected[1][numbers[n, 5], 5:] = True
        labelled, beside = expected if n % 2 == 0 else expected[::-1]
        assert torch.equal(mask, labelled)
        assert torch.equal(other, beside)


def test_no_image_is_in_two_pairs_and_all_pairs_of_classes_occur() -> None:
    made = composites(splits(LABELS), seed=0).test
    numbers = (batch_of(made)["image"][::2, 0, 0, ::5] * 255).round().long()
    assert len(numbers.unique()) == numbers.numel()
    assert len(made) >= len(LABELS) // 2
    pairs = {tuple(sorted(pair)) for pair in torch.tensor(LABELS)[numbers].tolist()}
    assert pairs == {(0, 1), (0, 2), (1, 2)}
    assert len(set(made.names)) == len(made)


def test_pairs_depend_only_on_the_seed() -> None:
    names = [composites(splits(LABELS), seed).test.names for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_training_images_stay_single() -> None:
    base = splits(LABELS)
    made = composites(base, seed=0)
    assert made.train is base.train
    assert made.class_names() == base.class_names()
    assert 0 < len(made.val) <= 4


@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [0]])
def test_images_of_one_class_give_no_pairs(labels: list[int]) -> None:
    same = images(labels)
    base = ImageSplits(train=same, val=same, test=same, classes=("a", "b"))
    assert len(composites(base, seed=0).test) == 0


def test_first_returns_the_first_rows() -> None:
    made = composites(splits(LABELS), seed=0).test
    few = made.block(5)
    assert few.images.shape == (5, 3, 40, 10)
    assert few.masks.shape == (5, 40, 10)
    for key, rows in batch_of(few).items():
        assert torch.equal(rows, batch_of(made)[key][:5])


def test_whole_tiles_are_the_objects_of_images_without_masks() -> None:
    batch = batch_of(composites(splits(LABELS, masks=False), seed=0).test)
    assert torch.equal(batch["mask"], batch["tile"])
    assert torch.equal(batch["other"], ~batch["tile"])


def test_tiles_are_the_halves_of_the_labelled_objects() -> None:
    batch = batch_of(composites(splits(LABELS), seed=0).test)
    left = torch.arange(10) < 5
    assert (batch["tile"][::2] == left).all()
    assert (batch["tile"][1::2] == ~left).all()


# Grids


def test_each_grid_occurs_once_for_the_class_of_each_tile() -> None:
    made = grids(splits(LABELS + [3] * 9), seed=0, side=2).test
    batch = batch_of(made)
    assert made.images.shape == batch["image"].shape == (len(made), 3, 80, 10)
    numbers = (batch["image"][:, 0, ::40, ::5] * 255).round().long()  # (N, 2, 2)
    assert torch.equal(batch["image"][:, 0].mul(255).round().long(), numbers.kron(torch.ones(1, 40, 5).long()))
    classes = torch.tensor(LABELS + [3] * 9)[numbers].flatten(1)
    for n in range(len(made)):
        assert len(set(classes[n].tolist())) == 4
        assert batch["label"][n] == classes[n, n % 4]
        assert torch.equal(numbers[n], numbers[n - n % 4])
        assert made.names[n] == f"{'+'.join(f'image{k}' for k in numbers[n].flatten())} tile {n % 4 + 1}"
    assert len(numbers[::4].unique()) == numbers[::4].numel()


def test_masks_others_and_tiles_of_grids_show_their_objects() -> None:
    batch = batch_of(grids(splits(LABELS + [3] * 9), seed=0).test)
    numbers = (batch["image"][:, 0, ::40, ::5] * 255).round().long()
    for n in range(len(numbers)):
        row, column = divmod(n % 4, 2)
        expected = {name: torch.zeros(80, 10, dtype=torch.bool) for name in ("mask", "other", "tile")}
        expected["tile"][40 * row : 40 * row + 40, 5 * column : 5 * column + 5] = True
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            place = "mask" if (y, x) == (row, column) else "other"
            # The n-th of 40 rows; an image beyond them has no mask.
            if numbers[n, y, x] < 40:
                expected[place][40 * y + numbers[n, y, x], 5 * x : 5 * x + 5] = True
        for name, rows in expected.items():
            assert torch.equal(batch[name][n], rows)


def test_grids_use_all_images_of_balanced_classes_and_every_group_of_classes() -> None:
    labels = list(range(6)) * 20
    made = grids(splits(labels), seed=0).test
    assert len(made) == len(labels)
    groups = batch_of(made)["label"].view(-1, 4)
    assert len({tuple(sorted(group)) for group in groups.tolist()}) == 15
    assert (groups == 0).any(0).all()  # no class has a tile of its own


@pytest.mark.parametrize("labels", [[0, 1, 2] * 4, [0], [1, 1, 1, 1, 1]])
def test_too_few_classes_give_no_grids(labels: list[int]) -> None:
    same = images(labels)
    base = ImageSplits(train=same, val=same, test=same, classes=("a", "b", "c"))
    made = grids(base, seed=0)
    assert len(made.test) == 0
    assert made.train is same


def test_frequent_classes_are_used_first() -> None:
    same = images([0] * 6 + [1] * 2 + [2] * 2 + [3] * 2 + [4] * 2 + [5] * 2 + [6] * 2)
    base = ImageSplits(train=same, val=same, test=same, classes=tuple("abcdefg"))
    assert len(grids(base, seed=0).test) == 16


def test_grids_depend_only_on_the_seed() -> None:
    labels = list(range(6)) * 3
    names = [grids(splits(labels), seed).test.names for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_first_grids_are_the_first_rows() -> None:
    made = grids(splits(list(range(6)) * 3), seed=0).test
    for key, rows in batch_of(made.block(5)).items():
        assert torch.equal(rows, batch_of(made)[key][:5])


def config(store: Path, *overrides: str) -> DictConfig:
    cli.prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", ["scale=smoke", f"paths.store={store}", *overrides])


@pytest.mark.parametrize(
    ("data", "base", "experiment"),
    [
        ("an8flower_composites", "an8flower_single_6c", "an8flower"),
        ("an8flower_grids", "an8flower_single_6c", "an8flower"),
        ("imagenet_composites", "imagenet", "imagenet"),
    ],
)
def test_network_identity_is_that_of_the_single_images(tmp_path: Path, data: str, base: str, experiment: str) -> None:
    paired, single, other_pairs = (
        Request(config(tmp_path, f"experiment={experiment}", *overrides))
        for overrides in ([f"data={data}"], [f"data={base}"], [f"data={data}", "data.build.seed=1"])
    )
    assert paired.config.data.name == data
    assert paired.network.identity == other_pairs.network.identity == single.network.identity
    assert paired.identity != single.identity
    assert paired.identity != other_pairs.identity


def test_network_is_trained_on_single_images_and_explained_on_pairs(tmp_path: Path) -> None:
    settings = config(tmp_path, "data=an8flower_composites", "metric=[discrimination]", "logger=none", "threads=1")
    made = load_data(settings)
    assert made.split("test").images.shape[1:] == (3, 64, 128)
    assert made.split("train").images.shape == (48, 3, 64, 64)
    cell.run(settings)
    assert not list(tmp_path.glob("cells/*/FAILED"))
    assert len(list(tmp_path.glob("models/*/DONE"))) == 1
    network = trained(NetworkSpec.of(config(tmp_path, "threads=1")), [])
    assert set(network.accuracy) == {"val", "test"}
    assert len(list(tmp_path.glob("models/*/DONE"))) == 1


def test_grids_are_explained_by_the_network_of_single_images(tmp_path: Path) -> None:
    settings = config(tmp_path, "data=an8flower_grids", "metric=[grid_pointing,difull]", "logger=none", "threads=1")
    made = load_data(settings).split("test")
    assert made.images.shape == (12, 3, 128, 128)
    settings.explainer = config(tmp_path, "explainer=grad_cam/layer_4").explainer
    cell.run(settings)
    assert not list(tmp_path.glob("cells/*/FAILED"))
    [folder] = [CellFolder(done.parent) for done in tmp_path.glob("cells/*/DONE")]
    scores = folder.read(SCORES).pivot(index="image", columns="metric", values="value")
    assert list(scores) == ["difull", "grid_confidence", "grid_pointing"]
    assert scores["difull"].between(0, 1).all()


@pytest.mark.real_data
def test_real_photographs_are_paired_side_by_side(tmp_path: Path) -> None:
    overrides = ("experiment=imagenet", "data=imagenet_composites", f"paths.data={os.environ['EVIDENT_DATA']}")
    made = load_data(config(tmp_path, *overrides))
    assert 480 <= len(made.split("test")) <= 500
    batch = batch_of(made.split("test").block(4))
    assert batch["image"].shape == (4, 3, 224, 448)
    assert torch.equal(batch["image"][0], batch["image"][1])
    assert torch.equal(batch["mask"][0], batch["other"][1])
    assert batch["label"][0] != batch["label"][1]
    assert not batch["mask"][0, :, 224:].any()
