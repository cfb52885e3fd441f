"""an8Flower splits: rendered once and stored, or read from the authors' files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from joblib import Parallel, delayed
from PIL import Image
from safetensors.torch import load_file

import evident.data.an8flower as module
from evident.data.an8flower import an8flower, source_of
from evident.data.render.flowers import CLASSES, RENDER_FORMAT, render
from evident.errors import UserError


def rendered(tmp_path: Path, **changed: Any):
    settings: dict[str, Any] = {
        "variant": "single-6c",
        "train": 7,
        "val": 3,
        "test": 4,
        "seed": 2,
        "source": "rendered",
        "size": 32,
    }
    return an8flower(**{**settings, **changed}, root=tmp_path / "data", store=tmp_path / "store")


def write_authors_files(folder: Path, classes: int = 6, scenes: int = 21, size: int = 40) -> Path:
    """Write files named like the authors': grey images with 10 times the scene's number, masks of the left half."""
    for label in range(1, classes + 1):
        class_folder = folder / f"class{label}"
        (class_folder / "masks").mkdir(parents=True)
        for scene in range(1, scenes):
            name = f"class{label}_img{scene}_p1_r2.jpg"
            Image.new("RGB", (size, size), (scene * 10,) * 3).save(class_folder / name)
            mask = Image.new("L", (size, size))
            mask.paste(255, (0, 0, size // 2, size))
            mask.save(class_folder / "masks" / name)
    return folder


def read_authors_files(tmp_path: Path, **changed: Any):
    return rendered(tmp_path, source="authors", **{"train": 48, "val": 12, "test": 12, **changed})


def test_rendered_splits_equal_the_rendering_of_their_names(tmp_path):
    splits = rendered(tmp_path)
    assert splits.class_names() == CLASSES["single-6c"]
    for name, count in (("train", 7), ("val", 3), ("test", 4)):
        found, expected = splits.split(name), render("single-6c", name, range(count), 2, 32)
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.labels, expected.labels)
        assert torch.equal(found.masks, expected.mask)
        assert found.names == tuple(f"{name}-{i:05d}" for i in range(count))


def test_rendered_images_are_stored_with_their_parts_and_reused(tmp_path, monkeypatch):
    first = rendered(tmp_path)
    stored = [load_file(path) for path in (tmp_path / "store" / "data").glob("*/images.safetensors")]
    assert sorted(len(tensors["parts"]) for tensors in stored) == [3, 4, 7]
    monkeypatch.setattr(module, "render", None)
    assert torch.equal(rendered(tmp_path).train.images, first.train.images)


def test_chunked_rendering_equals_whole(tmp_path, monkeypatch):
    whole = rendered(tmp_path / "whole").train
    monkeypatch.setattr(module, "CHUNK", 2)
    chunked = rendered(tmp_path / "chunked").train
    assert torch.equal(whole.images, chunked.images)
    assert torch.equal(whole.masks, chunked.masks)


def test_rendering_in_several_processes_gives_the_same_bytes(tmp_path, monkeypatch):
    whole = rendered(tmp_path / "whole").train
    monkeypatch.setattr(module, "CHUNK", 3)
    monkeypatch.setattr(module, "SEVERAL", len(whole))  # not for the smaller splits
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    parallel = rendered(tmp_path / "parallel").train
    for name in ("images", "labels", "masks"):
        assert torch.equal(getattr(parallel, name), getattr(whole, name))


def rendered_by_a_worker(root):
    module.SEVERAL, module.CHUNK = 1, 3  # in this process only
    return rendered(root).train.images.numpy()


def test_processes_of_a_parallel_launcher_render_too(tmp_path):
    [images] = Parallel(n_jobs=2, backend="loky")(delayed(rendered_by_a_worker)(path) for path in [tmp_path / "worker"])
    assert torch.equal(torch.from_numpy(images), rendered(tmp_path / "here").train.images)


def test_different_seeds_give_different_images(tmp_path):
    assert not torch.equal(rendered(tmp_path).test.images, rendered(tmp_path, seed=3).test.images)


@pytest.mark.parametrize("spelling", ["single-6c", "single_6c"])
def test_source_is_the_authors_files_if_they_exist(tmp_path, spelling):
    assert source_of(tmp_path, "single-6c") == f"rendered {RENDER_FORMAT}"
    (tmp_path / f"an8Flower_{spelling}").mkdir()
    found = source_of(tmp_path, "single-6c")
    assert found == source_of(tmp_path, "single_6c")
    assert found.startswith("authors ")
    assert source_of(tmp_path, "double-12c") == f"rendered {RENDER_FORMAT}"


def test_authors_files_are_split_by_scene_and_balanced_over_classes(tmp_path):
    write_authors_files(tmp_path / "data" / "an8Flower_single-6c")
    splits = read_authors_files(tmp_path)
    scenes = {
        name: {int(stem.split("_")[1][3:]) for stem in splits.split(name).names} for name in ("train", "val", "test")
    }
    assert scenes["test"] == {10, 20}
    assert scenes["val"] == {1, 11}
    assert scenes["train"] == {2, 3, 4, 5, 6, 7, 8, 9}
    assert splits.train.labels.bincount().tolist() == [8] * 6
    assert splits.class_names() == tuple(f"class{k}" for k in range(1, 7))
    assert read_authors_files(tmp_path, train=9).train.labels.bincount().tolist() == [2, 2, 2, 1, 1, 1]


def test_authors_images_and_masks_are_resized_to_the_requested_size(tmp_path):
    write_authors_files(tmp_path / "data" / "an8Flower_single_6c")
    test = read_authors_files(tmp_path).test
    assert test.images.shape == (12, 3, 32, 32)
    assert test.names[0] == "class1_img10_p1_r2"
    assert (test.images[0].float() - 100).abs().max() < 3
    assert test.masks is not None
    assert test.masks[0, :, :15].all()
    assert not test.masks[0, :, 17:].any()


def test_masks_are_also_found_in_one_folder_for_all_classes(tmp_path):
    folder = write_authors_files(tmp_path / "data" / "an8Flower_single-6c")
    (folder / "masks").mkdir()
    for label in range(1, 7):
        (folder / f"class{label}" / "masks").rename(folder / "masks" / f"class{label}")
    masks = read_authors_files(tmp_path).test.masks
    assert masks is not None
    assert masks[:, :, :15].all()


def test_missing_mask_is_an_error_that_names_the_image(tmp_path):
    folder = write_authors_files(tmp_path / "data" / "an8Flower_single-6c")
    (folder / "class3" / "masks" / "class3_img10_p1_r2.jpg").unlink()
    with pytest.raises(UserError, match=r"class3_img10_p1_r2.jpg has no mask"):
        read_authors_files(tmp_path)


@pytest.mark.parametrize("folder", ["class2", "class2/masks"])
def test_truncated_image_is_an_error_that_names_it(tmp_path, folder):
    path = write_authors_files(tmp_path / "data" / "an8Flower_single-6c") / folder / "class2_img10_p1_r2.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"class2_img10_p1_r2.jpg cannot be read"):
        read_authors_files(tmp_path)


def test_file_that_is_not_an_image_is_an_error_that_names_it(tmp_path):
    path = write_authors_files(tmp_path / "data" / "an8Flower_single-6c") / "class2" / "class2_img10_p1_r2.jpg"
    path.write_text("<html>")
    with pytest.raises(UserError, match=r"class2_img10_p1_r2.jpg cannot be read"):
        read_authors_files(tmp_path)


def test_wrong_file_name_is_an_error_that_names_it(tmp_path):
    folder = write_authors_files(tmp_path / "data" / "an8Flower_single-6c")
    (folder / "class2" / "class2_img10_p1_r2.jpg").rename(folder / "class2" / "flower.jpg")
    with pytest.raises(UserError, match=r"flower.jpg is not named like class2_img30_p1_r2.jpg"):
        read_authors_files(tmp_path)


def test_incomplete_set_is_an_error(tmp_path):
    write_authors_files(tmp_path / "data" / "an8Flower_single-6c", classes=4)
    with pytest.raises(UserError, match=r"has images of 4 classes, but single-6c has 6"):
        read_authors_files(tmp_path)


def test_missing_authors_files_are_an_error(tmp_path):
    with pytest.raises(UserError, match=r"an8Flower_single-6c; put the authors' files there"):
        read_authors_files(tmp_path)


@pytest.mark.parametrize("changed", [{"variant": "triple-3c"}, {"source": "web"}])
def test_unknown_variant_or_source_is_an_error_that_lists_the_known_ones(tmp_path, changed):
    with pytest.raises(UserError, match=r"triple-3c.*single-6c, double-12c|web.*authors or rendered"):
        rendered(tmp_path, **changed)
