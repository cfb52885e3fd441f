"""Landscapes as data sets: labels by the formulas of the truth, kept in the store, the truth told where it is due."""

from pathlib import Path

import numpy as np
import pytest
import torch
from entry_point import ROOT
from omegaconf import OmegaConf

from evident.data.render.landscape import truth
from evident.data.render.landscape.attributes import ATTRIBUTES
from evident.data.render.landscape.scene import landscape
from evident.data.scenes.landscapes import PackedMasks, landscapes, source_of
from evident.data.scenes.painter import Painter
from evident.data.scenes.splits import SCORES, SceneSplits
from evident.errors import UserError

K = len(ATTRIBUTES)
COUNTS = {"train": 5, "val": 2, "test": 3}


def made(store: Path, **changed: object) -> SceneSplits:
    asked = {
        "attributes": COUNTS,
        "scenicness": COUNTS,
        "raters": [5, 15],
        "seed": 3,
        "source": source_of(),
        "size": 20,
    }
    return landscapes(**{**asked, **changed}, root=store / "data", store=store)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def splits(store: Path) -> SceneSplits:
    return made(store)


def test_images_masks_and_truth_are_those_of_the_landscapes_of_their_names(splits):
    for name in ("scenicness", "attributes"):
        for split, count in COUNTS.items():
            held = getattr(getattr(splits, name), split)
            assert held.names == tuple(f"{name}-{split}-{i:05d}" for i in range(count))
            for index in range(count):
                scene = landscape(f"{name}/{split}", index, 20, seed=3)
                assert torch.equal(held.images[index], scene.image)
                assert torch.equal(held.attribute_masks[torch.tensor([index])][0], scene.masks)
                assert torch.allclose(held.truth["contributions"][index], scene.contributions.float())
                assert held.truth["score"][index].item() == pytest.approx(scene.score, rel=1e-6)
                assert held.truth["score_variance"][index].item() == pytest.approx(scene.variance, rel=1e-6)


def test_scenes_with_votes_have_no_labels_of_attributes_and_the_other_way_round(splits):
    voted, labelled = (of.train.__getitems__([4, 0]) for of in (splits.scenicness, splits.attributes))
    assert voted.keys() == {"image", "index", "votes", *SCORES}
    assert labelled.keys() == {"image", "index", "attributes"}
    assert voted["image"].dtype == torch.float32
    assert 0 <= voted["image"].min() < voted["image"].max() <= 1
    assert voted["index"].tolist() == [4, 0]
    assert labelled["attributes"].shape == (2, K)
    assert set((labelled["attributes"] * 3).round(decimals=5).flatten().tolist()) <= {0, 1, 2, 3}


def test_validation_and_test_images_tell_the_truth(splits):
    for name in ("scenicness", "attributes"):
        for held in (getattr(splits, name).val, getattr(splits, name).test):
            batch = held.__getitems__([1, 0])
            assert batch["attribute_masks"].shape == (2, K, 20, 20)
            assert batch["attribute_masks"].dtype == torch.bool
            assert torch.allclose(batch["contributions"].sum(1) + truth.BASE, batch["score"], atol=1e-5)


def test_what_is_explained_is_the_scenes_with_votes(splits):
    assert splits.test is splits.scenicness.test
    assert splits.attribute_names == ATTRIBUTES
    assert splits.classes[0] == "average"


def test_the_first_ones_are_the_same_images(splits):
    some = splits.test.first(2)
    assert len(some) == 2
    whole = splits.test.__getitems__([0, 1])
    for key, value in some.__getitems__([0, 1]).items():
        assert torch.equal(value, whole[key])
    assert {key: value.shape for key, value in some[1].items()} == {
        key: value.shape[1:] for key, value in whole.items()
    }
    for count in (0, 4):
        with pytest.raises(UserError, match=f"{count} landscapes asked for; 1 to 3 are there"):
            splits.test.first(count)


def test_a_landscape_can_be_had_without_an_attribute(splits):
    held = splits.test
    index, k = 1, int(held.truth["seen"][1].argmax())
    assert torch.equal(held.without(index, None).image, held.images[index])
    rest = held.first(2).without(index, ATTRIBUTES[k])
    assert torch.equal(rest.image, landscape("scenicness/test", index, 20, ATTRIBUTES[k], seed=3).image)
    assert not rest.masks[k].any()


def test_what_raises_the_true_score_is_marked(splits):
    batch = splits.test.__getitems__([0, 2])
    scene = landscape("scenicness/test", 2, 20, seed=3)
    torch.testing.assert_close(batch["contribution_map"][1], scene.contribution_maps.sum(0).float())
    torch.testing.assert_close(batch["contribution_map"].sum((1, 2)) + truth.BASE, batch["score"])
    assert torch.equal(batch["mask"], batch["contribution_map"] > 0)


def test_every_visible_attribute_is_taken_away_once_and_painted_once(splits, monkeypatch):
    held = splits.test
    removals = held.removals(torch.tensor([2, 0]))
    visible = held.attribute_masks[torch.tensor([2, 0])].flatten(2).any(2)
    assert {*zip(removals.row.tolist(), removals.attribute.tolist(), strict=True)} == {
        *map(tuple, visible.nonzero().tolist())
    }
    for row, attribute, image, change in zip(*removals, strict=True):
        index = (2, 0)[row]
        scene = landscape("scenicness/test", index, 20, ATTRIBUTES[attribute], seed=3)
        assert torch.equal(image, scene.image.float() / 255)
        assert change.item() == pytest.approx(scene.score - held.truth["score"][index].item(), abs=1e-5)
    monkeypatch.setattr(Painter, "paint", lambda *_: pytest.fail("painted again"))
    again = splits.scenicness.test.removals(torch.tensor([0]))
    assert torch.equal(again.images, removals.images[removals.row == 1])


def test_what_was_rendered_is_not_rendered_again_for_other_raters(store, splits, monkeypatch):
    monkeypatch.setattr(Painter, "paint", lambda *_: pytest.fail("painted again"))
    again = made(store)
    for key, value in splits.test[0].items():
        assert torch.equal(again.test[0][key], value)
    others = made(store, raters=[20, 20])
    assert torch.equal(others.test.images, splits.test.images)
    assert others.test.labels["votes"].shape == (3, 20)
    assert (others.test.labels["votes"] > 0).all()


def test_more_images_leave_the_first_as_they_were(tmp_path, splits):
    more = made(tmp_path, scenicness={"train": 7, "val": 2, "test": 3}).scenicness.train
    for index in range(5):
        for key, value in splits.scenicness.train[index].items():
            assert torch.equal(more[index][key], value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"source": "painted"}, f"no landscapes source 'painted'; there is {source_of()}"),
        ({"raters": [0, 4]}, "the fewest and the most of 1 to 400"),
        ({"raters": [9, 4]}, "the fewest and the most of 1 to 400"),
        ({"raters": [9]}, "the fewest and the most of 1 to 400"),
        ({"scenicness": {"train": 4, "val": 0, "test": 3}}, "data.build.scenicness=.*1 or more images"),
        ({"attributes": {"train": 4}}, "data.build.attributes=.*for each of train, val, test"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, changed, said):
    with pytest.raises(UserError, match=said):
        made(tmp_path, **changed)


def test_the_config_counts_the_attributes_and_the_scores():
    config = OmegaConf.load(ROOT / "conf" / "data" / "landscapes.yaml")
    assert (config.attributes, config.classes) == (K, len(SCORES))


def test_masks_come_out_as_they_were_packed():
    masks = np.random.default_rng(0).random((4, 3, 5, 7)) < 0.5
    held = PackedMasks(torch.from_numpy(np.packbits(masks.reshape(4, 3, 35), axis=-1)), 5, 7)
    assert held.shape == (4, 3, 5, 7)
    rows = torch.tensor([3, 1])
    assert np.array_equal(torch.as_tensor(held[rows]).numpy(), masks[[3, 1]])
    part = held[1:3]
    assert isinstance(part, PackedMasks)
    assert np.array_equal(torch.as_tensor(part[torch.arange(2)]).numpy(), masks[1:3])
