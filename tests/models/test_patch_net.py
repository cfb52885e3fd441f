"""PatchNet: its fields are exactly 17 pixels, and its contributions sum to its scores."""

from pathlib import Path
from typing import Any

import pytest
import torch
from committed_numbers import by_formula
from entry_point import ROOT
from omegaconf import OmegaConf
from samples import uniform_noise
from torch import Tensor, nn

from evident.contracts import SumsContributions
from evident.models.normalise import mean_colour
from evident.models.patch_net import PatchNet
from evident.relevance.receptive_fields import boxes, extents_of_pixels

FIELD, STEP, PADDING = 17, 4, 7


def network(classes: int = 6) -> PatchNet:
    made = by_formula(PatchNet(classes))
    made.normalise.measure((uniform_noise(4) * 255).byte())
    return made


def fields_of(model: PatchNet, size: tuple[int, int]) -> Tensor:
    """Return the field (4, h, w) of each position: top, left, bottom and right."""
    with torch.no_grad():
        return boxes("contribution_map", model.contribution_map(extents_of_pixels(size)))


def footprint(model: PatchNet, images: Tensor, row: int, column: int) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of the pixels that the contribution of a position depends on, by its gradient."""
    images = images.clone().requires_grad_()
    local = model.contribution_map(images)[:, :, row, column]
    gradient = torch.autograd.grad(local.square().sum(), images)[0].abs().sum((0, 1)) > 0
    return gradient.any(1).nonzero()[:, 0], gradient.any(0).nonzero()[:, 0]


@pytest.mark.parametrize(("row", "column"), [(2, 2), (5, 9), (13, 13)])
def test_field_of_a_position_is_exactly_17_pixels(row: int, column: int) -> None:
    # Linear, so that no rectifier that happens to be off hides a pixel.
    model, images = network(), uniform_noise(2, 64, dtype=torch.float64)
    for index, module in enumerate(model.features):
        if isinstance(module, nn.ReLU):
            model.features[index] = nn.Identity()
    rows, columns = footprint(model, images, row, column)
    for found, at in ((rows, row), (columns, column)):
        assert found.tolist() == list(range(STEP * at - PADDING, STEP * at - PADDING + FIELD))


@pytest.mark.parametrize("size", [(112, 112), (64, 48), (33, 17), (8, 8)])
def test_positions_are_4_pixels_apart_and_see_every_pixel(size: tuple[int, int]) -> None:
    top, left, bottom, right = fields_of(network(), size)
    for start, end, side in ((top[:, 0], bottom[:, 0], size[0]), (left[0], right[0], size[1])):
        at = STEP * torch.arange(side // STEP) - PADDING
        assert torch.equal(start, at.clamp(min=0))
        assert torch.equal(end, (at + FIELD).clamp(max=side))
        assert end[-1] == side


def test_contributions_and_bias_sum_to_the_scores() -> None:
    model, images = network(), uniform_noise(3, 112, dtype=torch.float64)
    assert isinstance(model, SumsContributions)
    contributions = model.contribution_map(images)
    assert contributions.shape == (3, 6, 28, 28)
    torch.testing.assert_close(contributions.sum((2, 3)) + model.output_bias(), model(images))


def test_a_field_outside_the_image_sees_the_mean_colour() -> None:
    model, images = network(), uniform_noise(2, 64, dtype=torch.float64)
    framed = mean_colour(model).expand(2, 3, 96, 96).clone()
    framed[:, :, 16:80, 16:80] = images
    # 16 pixels are four positions, whose fields begin 7 pixels before them.
    inner = model.contribution_map(framed)[:, :, 4:20, 4:20] * (24 * 24)
    torch.testing.assert_close(model.contribution_map(images) * (16 * 16), inner)


def test_change_of_one_pixel_changes_the_contributions_of_its_fields_only() -> None:
    model, images = network(), uniform_noise(1, 64, dtype=torch.float64)
    other = images.clone()
    other[:, :, 30, 41] = 1 - other[:, :, 30, 41]
    changed = (model.contribution_map(other) != model.contribution_map(images))[0].any(0)
    top, left, bottom, right = fields_of(model, (64, 64))
    sees = (top <= 30) & (bottom > 30) & (left <= 41) & (right > 41)
    assert changed.any()
    assert not (changed & ~sees).any()


def test_config_names_modules_of_the_network() -> None:
    config: Any = OmegaConf.load(Path(ROOT) / "conf" / "model" / "patch_net.yaml")
    names = dict(PatchNet(6).named_modules())
    assert {config.layer, config.middle_layer, *config.layers} <= set(names)
