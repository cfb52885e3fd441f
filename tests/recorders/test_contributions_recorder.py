"""The recorder of contributions keeps values for all images, and pictures of the first and the worst ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from samples import no_splits, quiet_trainer
from scene_world import COLOURS, scene_network, scenes
from scene_world import Scenes as SceneSet
from torch import Tensor

from evident.cell_folder import CONTRIBUTIONS, CellFolder
from evident.data.images import loader
from evident.explainers.cam import CAM
from evident.explainers.siam import SIAM
from evident.models.siam.scene_network import SceneNetwork
from evident.models.siam.stage import SceneStage
from evident.models.training import Trained
from evident.recorders.contract import Setup
from evident.recorders.contributions import Contributions
from evident.recorders.explain import Explain, explain_batch

COUNT = 20
# The network's score minus the votes' average, for each scene.
ERRORS = torch.tensor([3, -7, 1, 9, -2, 6, -10, 4, 0, -1, 8, -5, 2, 10, -8, 7, -3, 5, -9, -4]) / 4
OVERESTIMATES, UNDERESTIMATES = [13, 3, 10, 15, 5, 17], [6, 18, 14, 1, 11, 19]


def network(kind: str = "siam") -> SceneNetwork:
    """Return a network with random parameters."""
    return scene_network(kind, seed=1, noise=0.3).eval()


def pixels_of(split: SceneSet) -> Tensor:
    return split.images.float() / 255


def voted(errors: Tensor = ERRORS, kind: str = "siam") -> SceneSet:
    """Return scenes for which the network's score is off by `errors`; NaN where there are no votes."""
    split, _ = scenes(COUNT, seed=0)
    with torch.no_grad():
        average, variance = network(kind)(pixels_of(split)).unbind(1)
    return SceneSet(split.images, {"average": average - errors, "variance": variance})


def kept(folder: Path, split: SceneSet, explainer: Any, examples: int = 3, size: int = 7) -> dict[str, Tensor]:
    setup = Setup(explainer, Trained("", explainer.model, {}, []), split, no_splits, {}, {}, examples)
    recorder = Contributions(setup)
    trainer = quiet_trainer(callbacks=[Explain(explainer, [recorder])], inference_mode=False)
    trainer.test(SceneStage(explainer.model), loader(split, size), verbose=False)
    recorder.save(CellFolder(folder))
    return CellFolder(folder).read(CONTRIBUTIONS)


def test_labels_predictions_and_maps_of_all_images_are_kept(tmp_path: Path) -> None:
    split, explainer = voted(), SIAM(network())
    held = kept(tmp_path, split, explainer)
    torch.testing.assert_close(held["label"], split.labels["average"])
    assert held["target"].tolist() == [0] * COUNT
    with torch.no_grad():
        torch.testing.assert_close(held["predicted"], explainer.model(pixels_of(split))[:, 0])
    torch.testing.assert_close(held["own_map"], explainer.own_map(pixels_of(split), 0)[:, 0])
    torch.testing.assert_close(held["contributions"], explainer.contributions(pixels_of(split), 0))
    assert held["own_map"].shape == (COUNT, 8, 8)
    assert held["contributions"].shape == (COUNT, len(COLOURS))


def test_first_images_then_largest_over_and_underestimates_are_shown(tmp_path: Path) -> None:
    shown = kept(tmp_path, voted(), SIAM(network()))["shown"]
    assert shown.tolist() == [0, 1, 2, *OVERESTIMATES, *UNDERESTIMATES]


@pytest.mark.parametrize("size", [1, 7, COUNT])
def test_pictures_and_attribute_maps_do_not_depend_on_batch_size(tmp_path: Path, size: int) -> None:
    split, explainer = voted(), SIAM(network())
    held = kept(tmp_path, split, explainer, size=size)
    rows = [0, 1, 2, *OVERESTIMATES, *UNDERESTIMATES]
    assert held["shown"].tolist() == rows
    assert held["images"].dtype == torch.uint8
    assert torch.equal(held["images"], split.images[rows])
    torch.testing.assert_close(held["attribute_maps"], explainer.attribute_maps(pixels_of(split)[rows]))


def test_visible_attributes_are_kept_if_masks_are_known(tmp_path: Path) -> None:
    split = voted()
    assert "visible" not in kept(tmp_path, split, SIAM(network()))
    masks = torch.zeros(COUNT, len(COLOURS), 4, 4, dtype=torch.bool)
    masks[torch.arange(COUNT), torch.arange(COUNT) % len(COLOURS), 1, 2] = True
    known = SceneSet(split.images, {**split.labels, "attribute_masks": masks})
    held = kept(tmp_path, known, SIAM(network()))
    assert torch.equal(held["visible"], masks.flatten(2).any(2)[held["shown"]])


def test_few_scenes_are_all_shown(tmp_path: Path) -> None:
    held = kept(tmp_path, voted().block(4), SIAM(network()), examples=8)
    assert held["shown"].tolist() == [0, 1, 2, 3, *[3, 0, 2, 1], *[1, 2, 0, 3]]


def test_images_without_votes_are_no_extremes(tmp_path: Path) -> None:
    errors = ERRORS.where(ERRORS.abs() < 0.8, torch.nan)
    held = kept(tmp_path, voted(errors), SIAM(network()), examples=1)
    by_error = [0, 12, 2, 8, 9, 4, 16]
    assert held["shown"].tolist() == [0, *by_error[:6], *by_error[:-7:-1]]
    assert torch.equal(held["label"].isnan(), errors.isnan())


def test_only_first_images_are_shown_without_votes(tmp_path: Path) -> None:
    _, split = scenes(COUNT, seed=0)
    held = kept(tmp_path, split, SIAM(network()))
    assert held["label"].shape == (COUNT,)
    assert held["label"].isnan().all()
    assert held["shown"].tolist() == [0, 1, 2]
    assert torch.equal(held["images"], split.images[:3])


def test_no_pictures_without_stated_contributions(tmp_path: Path) -> None:
    split, explainer = voted(kind="regressor"), CAM(network("regressor"))
    held = kept(tmp_path, split, explainer)
    assert held.keys() == {"target", "label", "predicted", "own_map"}
    torch.testing.assert_close(held["own_map"], explainer.own_map(pixels_of(split), 0)[:, 0])
    torch.testing.assert_close(held["predicted"] - held["label"], ERRORS, atol=1e-4, rtol=0)


def test_contributions_belong_to_the_explained_output(tmp_path: Path) -> None:
    explainer = SIAM(network())
    split = voted().block(3)
    setup = Setup(explainer, Trained("", explainer.model, {}, []), split, no_splits, {}, {}, 3)
    recorder = Contributions(setup)
    batch = split.__getitems__([0, 1, 2])
    with torch.no_grad():
        recorder.record(explain_batch(explainer, explainer.model, batch, torch.ones(3, dtype=torch.long)))
        expected = explainer.model(batch["image"])[:, 1]
    recorder.save(CellFolder(tmp_path))
    held = CellFolder(tmp_path).read(CONTRIBUTIONS)
    torch.testing.assert_close(held["predicted"], expected)
    torch.testing.assert_close(held["contributions"], explainer.contributions(batch["image"], 1))
    torch.testing.assert_close(held["label"], split.labels["variance"])
