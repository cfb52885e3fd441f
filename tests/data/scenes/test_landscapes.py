"""Landscapes as data sets: labels from the formulas, stored images, ground truth in val and test batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from entry_point import ROOT
from omegaconf import OmegaConf

from evident.data.render.landscape import truth
from evident.data.render.landscape.attributes import ATTRIBUTES
from evident.data.render.landscape.scene import landscape
from evident.data.scenes.landscapes import PackedMasks, landscapes, source_of
from evident.data.scenes.renderings import LandscapeRenderer
from evident.data.scenes.splits import SCORES, SceneSplits
from evident.errors import UserError

K = len(ATTRIBUTES)
COUNTS = {"train": 5, "val": 2, "test": 3}


def load(store: Path, **changed: Any) -> SceneSplits:
    settings: dict[str, Any] = {
        "attributes": COUNTS,
        "scenicness": COUNTS,
        "raters": [5, 15],
        "seed": 3,
        "source": source_of(),
        "size": 20,
    }
    return landscapes(**{**settings, **changed}, root=store / "data", store=store)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def splits(store: Path) -> SceneSplits:
    return load(store)


def test_images_masks_and_truth_match_the_rendered_landscapes(splits):
    for name in ("scenicness", "attributes"):
        for split, count in COUNTS.items():
            landscape_set = getattr(getattr(splits, name), split)
            assert landscape_set.names == tuple(f"{name}-{split}-{i:05d}" for i in range(count))
            for index in range(count):
                scene = landscape(f"{name}/{split}", index, 20, seed=3)
                assert torch.equal(landscape_set.images[index], scene.image)
                assert torch.equal(landscape_set.attribute_masks[torch.tensor([index])][0], scene.masks)
                assert torch.allclose(landscape_set.truth["contributions"][index], scene.contributions.float())
                assert landscape_set.truth["score"][index].item() == pytest.approx(scene.score, rel=1e-6)


def test_each_set_has_only_its_own_labels(splits):
    voted, labelled = (of.train.__getitems__([4, 0]) for of in (splits.scenicness, splits.attributes))
    assert voted.keys() == {"image", "index", "votes", *SCORES}
    assert labelled.keys() == {"image", "index", "attributes"}
    assert voted["image"].dtype == torch.float32
    assert 0 <= voted["image"].min() < voted["image"].max() <= 1
    assert voted["index"].tolist() == [4, 0]
    assert labelled["attributes"].shape == (2, K)
    assert set((labelled["attributes"] * 3).round(decimals=5).flatten().tolist()) <= {0, 1, 2, 3}


def test_validation_and_test_batches_have_the_ground_truth(splits):
    for name in ("scenicness", "attributes"):
        for landscape_set in (getattr(splits, name).val, getattr(splits, name).test):
            batch = landscape_set.__getitems__([1, 0])
            assert batch["attribute_masks"].shape == (2, K, 20, 20)
            assert batch["attribute_masks"].dtype == torch.bool
            assert torch.allclose(batch["contributions"].sum(1) + truth.BASE, batch["score"], atol=1e-5)


def test_scenes_with_votes_are_explained(splits):
    assert splits.test is splits.scenicness.test
    assert splits.attribute_names() == ATTRIBUTES
    assert splits.class_names() == SCORES


def test_true_scores_are_those_of_the_rendered_landscapes(splits):
    scenes = [landscape("scenicness/test", index, 20, seed=3) for index in range(COUNTS["test"])]
    seen = truth.seen(torch.stack([scene.masks for scene in scenes]).numpy())
    expected = torch.from_numpy(truth.expected(seen, 5, 15)).float()
    torch.testing.assert_close(splits.test.true_scores(), expected)


def test_first_images_are_unchanged(splits):
    some = splits.test.block(2)
    assert len(some) == 2
    whole = splits.test.__getitems__([0, 1])
    for key, value in some.__getitems__([0, 1]).items():
        assert torch.equal(value, whole[key])
    assert {key: value.shape for key, value in some[1].items()} == {
        key: value.shape[1:] for key, value in whole.items()
    }
    for count in (0, 4):
        with pytest.raises(UserError, match=f"{count} images requested, but the set has 3; request 1 to 3"):
            splits.test.block(count)


def test_landscape_is_rendered_without_an_attribute(splits):
    landscape_set = splits.test
    index, k = 1, int(landscape_set.truth["seen"][1].argmax())
    assert torch.equal(landscape_set.without(index, None).image, landscape_set.images[index])
    rest = landscape_set.block(2).without(index, ATTRIBUTES[k])
    assert torch.equal(rest.image, landscape("scenicness/test", index, 20, ATTRIBUTES[k], seed=3).image)
    assert not rest.masks[k].any()


def test_block_renders_its_own_landscapes(splits):
    whole, second = splits.test, splits.test.block(1, 2)
    assert torch.equal(second.images[0], whole.images[2])
    assert torch.equal(second.without(0, None).image, second.images[0])
    found, expected = second.removals(torch.tensor([0])), whole.removals(torch.tensor([2]))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(whole.block(3).block(1, 1).without(0, None).image, whole.images[1])


def test_mask_marks_the_pixels_that_raise_the_true_score(splits):
    batch = splits.test.__getitems__([0, 2])
    scene = landscape("scenicness/test", 2, 20, seed=3)
    torch.testing.assert_close(batch["contribution_map"][1], scene.contribution_maps.sum(0).float())
    torch.testing.assert_close(batch["contribution_map"].sum((1, 2)) + truth.BASE, batch["score"])
    assert torch.equal(batch["mask"], batch["contribution_map"] > 0)


def test_every_visible_attribute_is_removed_and_rendered_once(splits, monkeypatch):
    landscape_set = splits.test
    removals = landscape_set.removals(torch.tensor([2, 0]))
    visible = landscape_set.attribute_masks[torch.tensor([2, 0])].flatten(2).any(2)
    assert {*zip(removals.row.tolist(), removals.attribute.tolist(), strict=True)} == {
        *map(tuple, visible.nonzero().tolist())
    }
    for row, attribute, image, change in zip(*removals, strict=True):
        index = (2, 0)[row]
        scene = landscape("scenicness/test", index, 20, ATTRIBUTES[attribute], seed=3)
        assert torch.equal(image, scene.image.float() / 255)
        assert change.item() == pytest.approx(scene.score - landscape_set.truth["score"][index].item(), abs=1e-5)
    monkeypatch.setattr(LandscapeRenderer, "render", lambda *_: pytest.fail("rendered again"))
    again = splits.scenicness.test.removals(torch.tensor([0]))
    assert torch.equal(again.images, removals.images[removals.row == 1])


def test_other_raters_do_not_render_again(store, splits, monkeypatch):
    monkeypatch.setattr(LandscapeRenderer, "render", lambda *_: pytest.fail("rendered again"))
    again = load(store)
    for key, value in splits.test[0].items():
        assert torch.equal(again.test[0][key], value)
    others = load(store, raters=[20, 20])
    assert torch.equal(others.test.images, splits.test.images)
    assert others.test.labels["votes"].shape == (3, 20)
    assert (others.test.labels["votes"] > 0).all()


def test_larger_set_starts_with_the_same_images(tmp_path, splits):
    more = load(tmp_path, scenicness={"train": 7, "val": 2, "test": 3}).scenicness.train
    for index in range(5):
        for key, value in splits.scenicness.train[index].items():
            assert torch.equal(more[index][key], value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": "drawn"}, f"unknown landscapes source 'drawn'; use '{source_of()}'"),
        ({"raters": [0, 4]}, "give the lowest and highest number, 1 to 400"),
        ({"raters": [9, 4]}, "give the lowest and highest number, 1 to 400"),
        ({"raters": [9]}, "give the lowest and highest number, 1 to 400"),
        ({"scenicness": {"train": 4, "val": 0, "test": 3}}, "data.build.scenicness=.*1 or more images"),
        ({"attributes": {"train": 4}}, "data.build.attributes=.*for each of train, val, test"),
    ],
)
def test_invalid_settings_are_user_errors(tmp_path, changed, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, **changed)


def test_config_has_the_numbers_of_attributes_and_scores():
    config = OmegaConf.load(ROOT / "conf" / "data" / "landscapes.yaml")
    assert (config.attributes, config.classes) == (K, len(SCORES))


def test_packed_masks_are_unpacked_unchanged():
    masks = np.random.default_rng(0).random((4, 3, 5, 7)) < 0.5
    landscape_set = PackedMasks(torch.from_numpy(np.packbits(masks.reshape(4, 3, 35), axis=-1)), 5, 7)
    assert landscape_set.shape == (4, 3, 5, 7)
    rows = torch.tensor([3, 1])
    assert np.array_equal(torch.as_tensor(landscape_set[rows]).numpy(), masks[[3, 1]])
    part = landscape_set[1:3]
    assert isinstance(part, PackedMasks)
    assert np.array_equal(torch.as_tensor(part[torch.arange(2)]).numpy(), masks[1:3])
