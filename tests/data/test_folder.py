"""A folder of the user as a data set: classes, splits, labels, masks, boxes, and what is refused."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from evident.data import folder as folders
from evident.data.class_names import names_of
from evident.data.folder import class_names, count_test_images, folder, names_for, source_of
from evident.data.images import NO_LABEL, ImageSplits, loader
from evident.errors import UserError, warn_once


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    for remembered in (folders._pictures, folders._content, folders._mask_files, warn_once):
        remembered.cache_clear()


def write(root: Path, *names: str, size: tuple[int, int] = (40, 30)) -> None:
    """Write a picture of its own noise for each name."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)


def read(root: Path, names: str | None = None, train: float = 0, val: float = 0, size: int = 30) -> ImageSplits:
    return folder(root, names, [], size, size, train, val, root=root.parent, store=root)


def named(splits: ImageSplits) -> dict[str, Sequence[str]]:
    return {name: getattr(splits, name).names for name in ("train", "val", "test")}


def test_class_folders_are_the_classes_and_names_keep_them(tmp_path: Path) -> None:
    write(tmp_path, "dogs/a.png", "cats/a.png", "cats/b (1).JPG", "dogs/sub/Ärger, #1.webp", "cats/._a.png")
    (tmp_path / "cats" / "notes.txt").write_text("no picture")
    splits = read(tmp_path)
    assert splits.classes == class_names(tmp_path, None) == ("cats", "dogs")
    assert splits.test.names == ("cats/a.png", "cats/b (1).JPG", "dogs/a.png", "dogs/sub/Ärger, #1.webp")
    assert splits.test.labels.tolist() == [0, 0, 1, 1]
    assert count_test_images(tmp_path, 0, 0) == 4
    assert splits.test[0]["image"].shape == (3, 30, 30)
    assert "mask" not in splits.test[0]


def test_one_folder_without_classes_has_no_labels(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    splits = read(tmp_path)
    assert splits.test.labels.tolist() == [NO_LABEL, NO_LABEL]
    assert splits.classes == ()


def test_folders_of_splits_are_the_splits(tmp_path: Path) -> None:
    write(tmp_path, "train/cats/a.png", "test/cats/a.png", "test/dogs/b.png")
    splits = read(tmp_path)
    assert named(splits) == {"train": ("cats/a.png",), "val": (), "test": ("cats/a.png", "dogs/b.png")}
    assert splits.test.labels.tolist() == [0, 1]
    with pytest.raises(UserError, match=r"no images in val; give it some"):
        splits.split("val")
    with pytest.raises(UserError, match=r"is split into folders already; leave out data.build.train"):
        read(tmp_path, train=0.5)


def test_train_can_be_the_name_of_a_class(tmp_path: Path) -> None:
    write(tmp_path, "train/a.png", "plane/a.png")
    assert read(tmp_path).classes == ("plane", "train")


def test_shares_divide_by_content_and_keep_copies_together(tmp_path: Path) -> None:
    write(tmp_path, *(f"cats/{number}.png" for number in range(200)))
    for number in range(0, 200, 2):
        (tmp_path / "cats" / f"copy of {number}.png").write_bytes((tmp_path / "cats" / f"{number}.png").read_bytes())
    splits = named(read(tmp_path, train=0.5, val=0.2))
    assert [len(names) for names in splits.values()] == pytest.approx([150, 60, 90], abs=30)
    place = {name: split for split, names in splits.items() for name in names}
    assert len(place) == 300
    assert all(place[f"cats/copy of {number}.png"] == place[f"cats/{number}.png"] for number in range(0, 200, 2))
    (tmp_path / "cats" / "0.png").rename(tmp_path / "cats" / "renamed.png")
    folders._pictures.cache_clear()
    again = {name: split for split, names in named(read(tmp_path, train=0.5, val=0.2)).items() for name in names}
    assert again.pop("cats/renamed.png") == place.pop("cats/0.png")
    assert again == place


def test_pictures_of_another_folder_are_for_training(tmp_path: Path) -> None:
    write(tmp_path / "own", "cats/a.png", "dogs/b.png")
    write(tmp_path / "more", "dogs/a.png", "dogs/c.png", "birds/d.png")
    splits = folder(tmp_path / "own", None, [], 30, 30, 0, 0, tmp_path / "more", root=tmp_path, store=tmp_path)
    assert named(splits)["test"] == ("cats/a.png", "dogs/b.png")
    found = dict(zip(splits.train.names, splits.train.labels.tolist(), strict=True))
    assert found == {"birds/d.png": NO_LABEL, "dogs/a.png": 1, "dogs/c.png": 1}


@pytest.mark.parametrize("shares", [(-0.1, 0), (0.7, 0.4)])
def test_impossible_shares_are_refused(tmp_path: Path, shares: tuple[float, float]) -> None:
    write(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"are no shares; use 0 to 1"):
        read(tmp_path, None, *shares)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), r"has no pictures; give a folder of pictures"),
        (("cats/a.png", "b.png"), r"b.png is beside class folders and so has no class; move it"),
        (("test/cats/a.png", "val/cats/a.png", "cats/b.png"), r"b.png is beside the folders test and val; move it"),
    ],
)
def test_unclear_folder_is_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    write(tmp_path, *names)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.root=.*none is not a folder"):
        source_of(tmp_path / "none")


def test_class_folders_find_the_classes_of_the_network(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("evident").propagate = True
    root = tmp_path / "pictures"
    write(root, *(f"{name}/a.png" for name in ("tench", "Great_White-shark", "n00000003", "17", "my cat", "1000")))
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet" / "synsets.txt").write_text("".join(f"n{number:08d}\n" for number in range(1000)))
    splits = read(root, "imagenet")
    found = dict(zip([name.partition("/")[0] for name in splits.test.names], splits.test.labels.tolist(), strict=True))
    assert found == {"tench": 0, "Great_White-shark": 2, "n00000003": 3, "17": 17, "my cat": -1, "1000": -1}
    assert len(splits.classes) == 1000
    [record] = caplog.records
    assert "2 of 6 class folders (1000, my cat) are no classes of the network" in record.message


@pytest.mark.parametrize(
    "content", [["wolf", "fox"], {"0": "wolf", "1": "fox"}, {"fox": 1, "wolf": 0}], ids=["list", "by index", "indices"]
)
def test_names_of_a_json_file(tmp_path: Path, content: object) -> None:
    (tmp_path / "names.json").write_text(json.dumps(content))
    assert names_of(str(tmp_path / "names.json")) == ("wolf", "fox")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("wolf", r"names.json is not JSON"),
        ("[]", r"must hold a list of class names"),
        ("[1, 2]", r"must hold a list of class names"),
        ('{"0": "wolf", "2": "fox"}', r"must hold a list of class names, or names by index 0, 1, 2"),
        ('["wolf", "wolf"]', r"names the class wolf twice"),
    ],
)
def test_bad_names_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(UserError, match=message):
        names_of(str(tmp_path / "names.json"))


def test_published_networks_have_the_names_of_imagenet_and_trained_ones_those_of_the_folder() -> None:
    assert names_for("imagenet", "file 0f3a", None) == "imagenet"
    assert names_for("imagenet", None, None) is None
    assert names_for("imagenet", "file 0f3a", "own.json") == "own.json"
    assert names_for("an8flower_single_6c", None, None) is None


def masks_of(splits: ImageSplits) -> torch.Tensor:
    [batch] = loader(splits.test, len(splits.test))
    return batch["mask"]


@pytest.mark.parametrize("kind", ["RGB", "L", "1", "palette", "ones", "I;16"])
def test_masks_mark_what_is_light_or_not_the_background(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "cats/a.png", "cats/b.png", size=(30, 30))
    marked = Image.new("L", (30, 30))
    ImageDraw.Draw(marked).rectangle((3, 5, 12, 24), fill=255)
    drawn = np.asarray(marked)
    (tmp_path / "masks" / "cats").mkdir(parents=True)
    file = tmp_path / "masks" / "cats" / "a.png"
    if kind == "palette":
        indices = Image.fromarray(drawn // 255 * 3).convert("P")
        indices.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, 20, 0, 0])
        indices.save(file)
    elif kind in ("ones", "I;16"):
        Image.fromarray(drawn // 255 if kind == "ones" else drawn.astype(np.uint16) * 257).save(file)
    else:
        marked.convert(kind).save(file)
    masks = masks_of(read(tmp_path))
    assert np.array_equal(masks[0], drawn > 0)
    assert not masks[1].any()


def test_masks_in_folders_of_splits_may_be_named_with_or_without_the_split(tmp_path: Path) -> None:
    write(tmp_path, "test/a.png", "test/b.png", "val/c.png", "masks/test/a.png", "masks/b.png")
    assert masks_of(read(tmp_path)).flatten(1).any(1).tolist() == [True, True]


def test_masks_that_fit_no_picture_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("evident").propagate = True
    write(tmp_path, "cats/a.png", "masks/cats/a.png", "masks/cats/other.png")
    read(tmp_path)
    assert "1 of 2 masks belong to no picture, first" in caplog.records[0].message
    folders._mask_files.cache_clear()
    (tmp_path / "masks" / "cats" / "a.png").unlink()
    with pytest.raises(UserError, match=r"1 of 1 masks belong to no picture, .*; name them as in .*masks/cats/a.png"):
        read(tmp_path)


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    write(tmp_path, "masks/a.png", size=(20, 20))
    with pytest.raises(UserError, match=r"masks/a.png has 20 x 20 pixels, its picture 40 x 30"):
        masks_of(read(tmp_path))


def test_boxes_name_pictures_by_path_or_by_a_file_name_that_is_clear(tmp_path: Path) -> None:
    write(tmp_path, "cats/a.png", "dogs/a.png", "dogs/b.png", size=(30, 30))
    (tmp_path / "boxes.csv").write_text("image,xmin,ymin,xmax,ymax\ncats/a,0,0,10,10\nb.png,5,5,9,9\na.png,1,1,2,2\n")
    assert masks_of(read(tmp_path)).sum((1, 2)).tolist() == [100, 0, 16]
    write(tmp_path, "masks/cats/a.png")
    with pytest.raises(UserError, match=r"has both masks and boxes.csv; keep one of them"):
        read(tmp_path)


def test_source_changes_with_a_replaced_picture_of_equal_size_behind_a_link(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/a.bmp", "elsewhere/b.bmp")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "cats").symlink_to(tmp_path / "elsewhere")
    before = source_of(tmp_path / "set")
    first, second = tmp_path / "elsewhere" / "a.bmp", tmp_path / "elsewhere" / "b.bmp"
    assert os.path.getsize(first) == os.path.getsize(second)
    first.write_bytes(second.read_bytes())
    folders._content.cache_clear()
    assert source_of(tmp_path / "set") != before
