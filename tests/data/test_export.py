"""A data set as files: what is read back equals what was written, and errors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from entry_point import run
from PIL import Image
from safetensors.torch import load_file

from evident.data.export import export
from evident.data.folder import folder as read_folder
from evident.data.images import NO_LABEL, ImageSet, loader
from evident.data.scenes.landscapes import landscapes
from evident.data.scenes.landscapes import source_of as source_of_landscapes


def images(labels: list[int], names: list[str], masks: bool = True) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (len(labels), 3, 8, 8), generator=generator, dtype=torch.uint8)
    marked = torch.rand(len(labels), 8, 8, generator=generator) > 0.5
    return ImageSet(pixels, torch.tensor(labels), names, marked if masks else None)


def test_folder_reads_back_pictures_classes_and_masks(tmp_path: Path) -> None:
    own = images([1, 0, 1], ["a", "b", "c"])
    export(own, ["cats", "dogs"], (), tmp_path, "test")
    again = read_folder(tmp_path, None, [], 8, 8, 0, 0, root=tmp_path, store=tmp_path / "store").test
    assert [Path(name).stem for name in again.names] == ["b", "a", "c"]
    [batch] = list(loader(again, 8))
    [original] = list(loader(own, 8))
    order = [1, 0, 2]
    assert torch.equal(batch["image"], original["image"][order])
    assert torch.equal(batch["mask"], original["mask"][order])
    assert batch["label"].tolist() == [0, 1, 1]
    table = pd.read_csv(tmp_path / "test.csv")
    assert table["file"].tolist() == ["test/dogs/a.png", "test/cats/b.png", "test/dogs/c.png"]
    assert table["class"].tolist() == ["dogs", "cats", "dogs"]


def test_equal_names_lose_no_picture(tmp_path: Path) -> None:
    export(images([0, 0, 0], ["x/a.jpg", "y/a.jpg", "z/a.png"], masks=False), ["and/or"], (), tmp_path, "val")
    files = sorted(path.name for path in (tmp_path / "val" / "and_or").iterdir())
    assert files == ["1_a.png", "2_a.png", "a.png"]
    assert pd.read_csv(tmp_path / "val.csv")["file"].nunique() == 3


def test_images_without_labels_and_masks_are_pictures_alone(tmp_path: Path) -> None:
    export(images([NO_LABEL], ["a"], masks=False), [], (), tmp_path, "test")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == ["test.csv", "test/a.png"]
    assert list(pd.read_csv(tmp_path / "test.csv")) == ["file"]


def test_landscapes_keep_votes_truth_and_masks_of_attributes(tmp_path: Path) -> None:
    counts = {"train": 1, "val": 1, "test": 2}
    splits = landscapes(counts, counts, [5, 6], 0, source_of_landscapes(), 32, root=tmp_path, store=tmp_path / "store")
    own, names = splits.split("test"), splits.attribute_names()
    export(own, splits.class_names(), names, tmp_path, "test")
    [batch] = list(loader(own, 2))
    table, maps = pd.read_csv(tmp_path / "test.csv"), load_file(tmp_path / "test_maps.safetensors")
    assert set(maps) == {"attribute_masks", "contribution_map"}
    assert torch.equal(maps["attribute_masks"], batch["attribute_masks"])
    assert np.allclose(table["average"], batch["average"])
    contributions = table[[f"contributions {name}" for name in names]].to_numpy()
    assert np.allclose(contributions, batch["contributions"])
    first = np.asarray(Image.open(tmp_path / table["file"][0]))
    assert np.array_equal(first, (batch["image"][0] * 255).round().byte().permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ([], "give to=DIR"),
        (["to=FULL"], "is not empty"),
        (["to=NEW", "splits=[tset]"], "unknown split 'tset'; use one of train, val, test"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, given: list[str], error: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "own.txt").write_text("mine")
    places = {"to=FULL": f"to={tmp_path / 'full'}", "to=NEW": f"to={tmp_path / 'new'}"}
    ended = run("task=export", "scale=smoke", *(places.get(text, text) for text in given), store=tmp_path / "store")
    assert ended.returncode != 0
    assert error in ended.stderr
    assert "Traceback" not in ended.stderr
