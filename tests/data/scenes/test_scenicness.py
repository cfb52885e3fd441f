"""Two sets of photos combined into one data set: each keeps its labels, and the configs combine them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from evident.cli import prepare
from evident.data.loading import load_data
from evident.data.scenes.photos import PhotoSplits
from evident.data.scenes.scenicness import scenicness
from evident.data.scenes.splits import SCORES, SPLITS, SceneSplits
from evident.errors import UserError


def configured(data: str, store: Path, *overrides: str) -> DictConfig:
    prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", [f"data={data}", f"paths.store={store}", *overrides])


def parts_of(name: str) -> list[Any]:
    """Return names in place of the photos of each split."""
    return [f"{name} {split}" for split in SPLITS]


def load(name: str, loaded: list[tuple[str, Path, Path]]) -> Callable[..., PhotoSplits]:
    def read(root: Path, store: Path) -> PhotoSplits:
        loaded.append((name, root, store))
        train, val, test = parts_of(name)
        return PhotoSplits(train, val, test, attributes=("trees", "grass"))

    return read


def combined(root: Path, **settings: Any) -> SceneSplits:
    return scenicness(load("votes", []), load("attributes", []), **settings, root=root, store=root / "store")


def test_both_sets_are_loaded_from_the_same_folders(tmp_path: Path) -> None:
    loaded: list[tuple[str, Path, Path]] = []
    splits = scenicness(load("votes", loaded), load("attributes", loaded), root=tmp_path, store=tmp_path / "store")
    assert {name for name, *_ in loaded} == {"votes", "attributes"}
    assert {tuple(places) for _, *places in loaded} == {(tmp_path, tmp_path / "store")}
    assert (splits.train, splits.test) == ("votes train", "votes test")
    assert splits.attributes.val == "attributes val"
    assert splits.attribute_names() == ("trees", "grass")


@pytest.mark.parametrize(("explained", "of"), [("scenicness", "votes"), ("attributes", "attributes")])
def test_explained_set_gives_val_and_test_and_the_set_with_votes_gives_train(
    tmp_path: Path, explained: str, of: str
) -> None:
    splits = combined(tmp_path, explained=explained)
    assert (splits.train, splits.val, splits.test) == ("votes train", f"{of} val", f"{of} test")
    assert [splits.split(name) for name in SPLITS] == ["votes train", f"{of} val", f"{of} test"]
    assert splits.class_names() == SCORES


def test_scenes_with_votes_are_explained_by_default(tmp_path: Path) -> None:
    assert combined(tmp_path).explained == "scenicness"


def test_unknown_split_is_a_user_error(tmp_path: Path) -> None:
    splits = combined(tmp_path)
    assert isinstance(splits.attributes, PhotoSplits)
    for scenes in (splits, splits.attributes):
        with pytest.raises(UserError, match=r"^unknown split 'all'; use one of train, val, test$"):
            scenes.split("all")


def test_unknown_explained_set_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^unknown data.build.explained='votes'; use scenicness or attributes$"):
        combined(tmp_path, explained="votes")


def test_size_applies_to_both_sets(tmp_path: Path) -> None:
    data = configured("scenicness_photos", tmp_path, f"paths.data={tmp_path}", "data.size=360").data
    assert data.build.scenicness.size == data.build.attributes.size == 360
    assert data.sets.scenicness.source == "missing"


def test_missing_files_are_user_errors(tmp_path: Path) -> None:
    for data, message in {"scenicornot": "votes.tsv is missing", "sun": "has no labels"}.items():
        with pytest.raises(UserError, match=message):
            load_data(configured(data, tmp_path, f"paths.data={tmp_path}"))


@pytest.mark.real_data
def test_real_photos_are_a_data_set(tmp_path: Path) -> None:
    config = configured("scenicness_predicted", tmp_path, f"paths.data={os.environ['EVIDENT_DATA']}")
    splits = load_data(config)
    assert isinstance(splits, SceneSplits)
    for scenes, labels in ((splits.scenicness, {"average", "variance"}), (splits.attributes, {"attributes", "label"})):
        for part in (scenes.train, scenes.val, scenes.test):
            batch = part.__getitems__([0, 1])
            assert set(batch) == {"image", "index", *labels}
            assert batch["image"].shape == (2, 3, 96, 96)
    assert splits.attributes.train[0]["attributes"].shape == (config.data.attributes,)
    assert splits.scenicness.train.uncropped().images.shape[2:] == (107, 107)


@pytest.mark.real_data
def test_sun_photos_have_enough_test_images_for_scale_paper(tmp_path: Path) -> None:
    config = configured("sun_photos", tmp_path, f"paths.data={os.environ['EVIDENT_DATA']}", "scale=paper")
    splits = load_data(config)
    test = splits.split("test")
    assert len(test) >= config.scale.data.scenes.sun
    batch = test.__getitems__([0, 1])
    assert batch["image"].shape == (2, 3, 224, 224)
    assert "attributes" in batch
    assert "average" in splits.split("train")[0]
