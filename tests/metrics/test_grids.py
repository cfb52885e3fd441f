"""Grids of images: maps and networks with known scores, Grad-CAM derived tile by tile, and Quantus."""

import logging
import math
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import Attribution
from samples import TinyTransformer, flower_net, smooth_noise
from torch import Tensor, nn

from evident.contracts import LearnsRelevance, Regressor
from evident.errors import NotApplicable, UserError
from evident.explainers.captum_method import CaptumMethod
from evident.explainers.grad_cam import GradCAM, Weights
from evident.explainers.reference_rows import Centre, Oracle, Random
from evident.metrics.contract import Explanation, heatmaps
from evident.metrics.grids import difull, grid_pointing

nan = math.nan
SIDE = 32  # of a tile


class Colours(nn.Module):
    """Predict class k with a probability that is the share of colour channel k in the image."""

    def forward(self, images: Tensor) -> Tensor:
        return (images.double().mean((2, 3)) / images.double().mean((1, 2, 3))[:, None] / 3).clamp(min=1e-9).log()


def tile(number: int, side: int = 4, rows: int = 2, columns: int = 2) -> Tensor:
    """Return the mask (H, W) of one tile of a grid."""
    mask = torch.zeros(rows * side, columns * side, dtype=torch.bool)
    row, column = divmod(number, columns)
    mask[row * side : row * side + side, column * side : column * side + side] = True
    return mask


def coloured(colours: list[list[float]]) -> Tensor:
    """Return a grid (1, 3, 8, 8) of 2 x 2 tiles of one colour each."""
    return torch.tensor(colours).T.view(1, 3, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)


RED, GREEN, BLUE = [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]
FLAGS = coloured([GREEN, RED, BLUE, BLUE])


def pointing(heatmap: Tensor, own: int = 1, images: Tensor = FLAGS, target: int = 0, **settings) -> tuple[float, float]:
    explanation = Explanation(images, torch.tensor([target]), heatmap[None], model=Colours(), tile=tile(own)[None])
    result = grid_pointing(explanation, **settings)
    assert list(result) == ["grid_pointing", "grid_confidence"]
    return result["grid_pointing"].item(), result["grid_confidence"].item()


# The grid pointing game


@pytest.mark.parametrize("own", range(4))
def test_own_tile_scores_one_other_tiles_zero_and_a_constant_map_a_quarter(own: int) -> None:
    colours = [GREEN, BLUE, BLUE, GREEN]
    colours[own] = RED
    images = coloured(colours)
    assert pointing(tile(own).float(), own, images)[0] == 1
    assert pointing((~tile(own)).float(), own, images)[0] == 0
    assert pointing(torch.ones(8, 8), own, images)[0] == 0.25


def test_only_positive_values_count() -> None:
    heatmap = torch.zeros(8, 8)
    heatmap[0, 5], heatmap[1, 6], heatmap[7, 7], heatmap[0, 0] = 2, 1, 9, -50
    assert pointing(heatmap)[0] == pytest.approx(3 / 12)


def test_map_without_positive_or_with_non_finite_values_is_nan() -> None:
    for value in (0, -1, nan, math.inf):
        assert math.isnan(pointing(torch.full((8, 8), float(value)))[0])


@pytest.mark.parametrize(
    ("colours", "confidence"),
    [
        ([GREEN, RED, BLUE, BLUE], 1),
        ([GREEN, [0.6, 0.4, 0], BLUE, BLUE], 0.6),
        ([GREEN, RED, BLUE, [0.3, 0, 0.7]], 0.7),  # another tile shows some of the class
        ([RED, GREEN, BLUE, BLUE], 0),
    ],
)
def test_confidence_is_the_least_certain_tile_and_a_low_one_leaves_the_score_undefined(
    colours: list[list[float]], confidence: float
) -> None:
    score, found = pointing(tile(1).float(), images=coloured(colours), least=0.65)
    assert found == pytest.approx(confidence, abs=1e-6)
    assert math.isnan(score) == (confidence < 0.65)


def test_score_is_the_relevance_mass_of_quantus_in_the_tile(quantus: ModuleType) -> None:
    heatmap = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    own = torch.stack([tile(n) for n in range(3)])
    images, target = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(3)
    explanation = Explanation(images, target, heatmap, model=Colours(), tile=own)
    theirs = quantus.RelevanceMassAccuracy(abs=False, normalise=False, disable_warnings=True)(
        Colours(),
        images.numpy(),
        target.numpy(),
        heatmap[:, None].numpy(),
        s_batch=own[:, None].numpy(),
        channel_first=True,
        device="cpu",
    )
    found = grid_pointing(explanation, least=0)["grid_pointing"]
    assert found.tolist() == pytest.approx(np.asarray(theirs).tolist(), rel=1e-5)


# DiFull


def explained(explainer: Attribution, model: nn.Module, count: int = 4, seed: int = 1) -> Explanation:
    """Return the explanation of grids of which the n-th shows its target in tile n."""
    images, target = smooth_noise(count, 2 * SIDE, cells=9, seed=seed, dtype=torch.float64), torch.arange(count) % 4
    own = torch.stack([tile(n % 4, SIDE) for n in range(count)])
    heatmap = heatmaps(explainer, images, target, own)
    return Explanation(images, target, heatmap, own, model, explainer=explainer, tile=own)


NETWORK = flower_net().double()


def test_gradient_of_the_disconnected_network_scores_one() -> None:
    explanation = explained(CaptumMethod(NETWORK, "captum.attr.Saliency", "absolute_maximum"), NETWORK)
    assert difull(explanation).tolist() == [1, 1, 1, 1]
    connected = grid_pointing(explanation, least=0)["grid_pointing"]
    assert (connected < 0.5).all()


def test_oracle_scores_one_and_maps_without_the_network_a_quarter() -> None:
    assert difull(explained(Oracle(NETWORK), NETWORK)).tolist() == [1, 1, 1, 1]
    for explainer in (Random(NETWORK), Centre(NETWORK)):
        assert difull(explained(explainer, NETWORK)).tolist() == pytest.approx([0.25] * 4, abs=0.02)


@pytest.mark.parametrize("weights", ["grad_cam", "hires_cam"])
@pytest.mark.parametrize("layer", ["features.20", "features.11"])
def test_score_of_grad_cam_is_that_of_its_formula_on_joined_tiles(weights: Weights, layer: str) -> None:
    explanation = explained(GradCAM(NETWORK, layer, weights, placement="resized"), NETWORK)
    found, tiles_of_targets = difull(explanation), explanation.tile
    assert tiles_of_targets is not None
    below = NETWORK.features[: int(layer.split(".")[1]) + 1]
    above = NETWORK.features[int(layer.split(".")[1]) + 1 :]
    for n, own in enumerate(tiles_of_targets):
        order = [n, *(k for k in range(4) if k != n)]
        tiles = [explanation.images[n][:, tile(k, SIDE)].view(1, 3, SIDE, SIDE) for k in order]
        assert torch.equal(tiles[0][0].flatten(1), explanation.images[n][:, own])
        maps = [below(NETWORK.normalise(image)).detach().requires_grad_() for image in tiles]
        score = NETWORK.classifier(above(maps[0]))[0, n]
        gradients = [torch.autograd.grad(score, maps[0])[0], *(torch.zeros_like(each) for each in maps[1:])]
        a, g = (torch.cat([torch.cat(each[:2], 3), torch.cat(each[2:], 3)], 2) for each in (maps, gradients))
        cam = ((g.mean((2, 3), keepdim=True) if weights == "grad_cam" else g) * a).sum(1, keepdim=True).clamp(min=0)
        placed = F.interpolate(cam.detach(), 2 * SIDE, mode="bilinear")[0, 0]
        expected = placed[:SIDE, :SIDE].sum() / placed.sum()
        assert found[n].item() == pytest.approx(expected.item(), rel=1e-9, nan_ok=True)


def test_place_of_the_own_tile_has_no_effect_on_explainers_that_treat_all_places_alike() -> None:
    explanation = explained(GradCAM(NETWORK, "features.20", placement="resized"), NETWORK, count=1)
    image = explanation.images[0]
    upper, lower = image[:, :SIDE], image[:, SIDE:]
    moved = torch.cat([lower, upper], 1)[None]  # the own tile is now the third; the order of the others changes
    swapped = replace(explanation, images=moved, tile=tile(2, SIDE)[None])
    assert difull(swapped).item() == pytest.approx(difull(explanation).item(), abs=0.02)


class Learned(Attribution, LearnsRelevance):
    """State that the explainer has learned features."""

    heatmap = staticmethod(lambda attribution: attribution.sum(1))

    def relevance(self) -> None:
        return None

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        return inputs


class Refuses(Attribution):
    """Refuse every network, after its forward pass."""

    heatmap = staticmethod(lambda attribution: attribution.sum(1))

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        self.forward_func(inputs)
        raise NotApplicable("no rule for this network")


def test_explainers_and_networks_that_cannot_be_disconnected_are_nan_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    explanation = explained(Random(NETWORK), NETWORK, count=2)
    transformer = TinyTransformer().double().eval()
    with caplog.at_level(logging.WARNING, "evident"):
        assert difull(replace(explanation, explainer=Learned(NETWORK))).isnan().all()
        assert difull(replace(explanation, model=transformer, explainer=Centre(transformer))).isnan().all()
        assert difull(replace(explanation, explainer=Refuses(NETWORK))).isnan().all()
    assert [record.getMessage() for record in caplog.records] == [
        "difull is undefined for Learned: Learned reads the responses of layers, not those of tiles",
        "difull is undefined for Centre: the tiles of a grid cannot be disconnected in a network that computes "
        "layer_norm of (1, 17, 16) after it has summarised a map",
        "difull is undefined for Refuses: no rule for this network",
    ]
    assert not NETWORK._forward_hooks


# Errors


class Regression(nn.Module, Regressor):
    def regression_names(self) -> tuple[str, ...]:
        return ("votes",)

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None]


def test_missing_fields_are_named() -> None:
    whole = Explanation(FLAGS, torch.tensor([0]), torch.ones(1, 8, 8), model=Colours(), tile=tile(1)[None])
    whole = replace(whole, explainer=Random(Colours()))
    for metric in (grid_pointing, difull):
        with pytest.raises(UserError, match=f"{metric.__name__} needs grids of images"):
            metric(replace(whole, tile=None))
        with pytest.raises(UserError, match=r"give the .*model to the Explanation"):
            metric(replace(whole, model=None))
        with pytest.raises(NotApplicable, match=f"{metric.__name__} needs class probabilities"):
            metric(replace(whole, model=Regression()))
    with pytest.raises(UserError, match="give the explainer"):
        difull(replace(whole, explainer=None))


def test_tiles_that_are_no_grid_are_refused() -> None:
    def given(own: Tensor) -> Explanation:
        return Explanation(FLAGS, torch.tensor([0]), torch.ones(1, 8, 8), model=Colours(), tile=own[None])

    shifted = torch.zeros(8, 8, dtype=torch.bool)
    shifted[1:5, :4] = True
    ring = tile(0).clone()
    ring[1, 1] = False
    for own, message in (
        (torch.zeros(8, 8, dtype=torch.bool), r"a tile of \[0, 0\] pixels"),
        (torch.arange(64).view(8, 8) < 24, r"a tile of \[3, 8\] pixels does not divide images of \[8, 8\] pixels"),
        (shifted, "one of 2 x 2 tiles"),
        (ring, "one of 2 x 2 tiles"),
    ):
        with pytest.raises(UserError, match=message):
            grid_pointing(given(own))


def test_two_images_side_by_side_are_a_grid() -> None:
    images = torch.cat([coloured([RED] * 4), coloured([BLUE] * 4)], 3)
    own = torch.arange(16) < 8
    explanation = Explanation(
        images, torch.tensor([0]), torch.ones(1, 8, 16), model=Colours(), tile=own.expand(1, 8, -1)
    )
    assert grid_pointing(explanation)["grid_pointing"].item() == 0.5
