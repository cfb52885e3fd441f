"""Two sets of real photos as one data set: each keeps its labels, and the configs put them together."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from evident.cell import load_data
from evident.cli import prepare
from evident.data.scenes.photos import PhotoSplits
from evident.data.scenes.scenicness import scenicness
from evident.data.scenes.splits import SCORES, SceneSplits
from evident.errors import UserError


def configured(data: str, store: Path, *overrides: str) -> DictConfig:
    prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", [f"data={data}", f"paths.store={store}", *overrides])


def load(name: str, asked: list[tuple[str, Path, Path]]) -> Callable[..., PhotoSplits]:
    def read(root: Path, store: Path) -> PhotoSplits:
        asked.append((name, root, store))
        return PhotoSplits(f"{name} train", f"{name} val", f"{name} test", attributes=("trees", "grass"))

    return read


def made_up(root: Path, **settings: str) -> SceneSplits:
    return scenicness(load("votes", []), load("attributes", []), **settings, root=root, store=root / "store")


def test_each_set_is_loaded_from_the_same_place_and_keeps_its_own(tmp_path: Path) -> None:
    asked: list[tuple[str, Path, Path]] = []
    splits = scenicness(load("votes", asked), load("attributes", asked), root=tmp_path, store=tmp_path / "store")
    assert {name for name, *_ in asked} == {"votes", "attributes"}
    assert {tuple(places) for _, *places in asked} == {(tmp_path, tmp_path / "store")}
    assert (splits.train, splits.test) == ("votes train", "votes test")
    assert splits.attributes.val == "attributes val"
    assert splits.attribute_names == ("trees", "grass")


@pytest.mark.parametrize(("explained", "of"), [("scenicness", "votes"), ("attributes", "attributes")])
def test_the_set_that_is_explained_is_validated_and_tested_on_and_votes_are_learnt(
    tmp_path: Path, explained: str, of: str
) -> None:
    splits = made_up(tmp_path, explained=explained)
    assert (splits.train, splits.val, splits.test) == ("votes train", f"{of} val", f"{of} test")
    assert splits.classes == SCORES


def test_scenes_with_votes_are_explained_unless_others_are_asked_for(tmp_path: Path) -> None:
    assert made_up(tmp_path).explained == "scenicness"


def test_a_set_that_is_neither_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data.build.explained='votes' is unknown; use scenicness or attributes$"):
        made_up(tmp_path, explained="votes")


def test_the_size_of_the_data_set_is_that_of_both(tmp_path: Path) -> None:
    data = configured("scenicness_photos", tmp_path, f"paths.data={tmp_path}", "data.size=360").data
    assert data.build.scenicness.size == data.build.attributes.size == 360
    assert data.sets.scenicness.source == "missing"


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    for data, told in {"scenicornot": "votes.tsv is missing", "sun": "holds no labels"}.items():
        with pytest.raises(UserError, match=told):
            load_data(configured(data, tmp_path, f"paths.data={tmp_path}"))


@pytest.mark.real_data
def test_the_real_photos_at_hand_are_a_data_set(tmp_path: Path) -> None:
    config = configured("scenicness_predicted", tmp_path, f"paths.data={os.environ['EVIDENT_DATA']}")
    splits = load_data(config)
    for scenes, labels in ((splits.scenicness, {"average", "variance"}), (splits.attributes, {"attributes", "label"})):
        for part in (scenes.train, scenes.val, scenes.test):
            batch = part.__getitems__([0, 1])
            assert set(batch) == {"image", "index", *labels}
            assert batch["image"].shape == (2, 3, 96, 96)
    assert splits.attributes.train[0]["attributes"].shape == (config.data.attributes,)
    assert splits.scenicness.train.uncropped().images.shape[2:] == (107, 107)


@pytest.mark.real_data
def test_enough_of_the_real_photos_with_attributes_are_explained(tmp_path: Path) -> None:
    config = configured("sun_photos", tmp_path, f"paths.data={os.environ['EVIDENT_DATA']}", "scale=paper")
    splits = load_data(config)
    assert len(splits.test) >= config.scale.scenes.sun
    batch = splits.test.__getitems__([0, 1])
    assert batch["image"].shape == (2, 3, 224, 224)
    assert "attributes" in batch
    assert "average" in splits.train[0]
