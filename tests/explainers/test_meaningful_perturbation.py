"""Meaningful perturbation on a network with a known region of evidence, and compared with a plain equation 6."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from samples import uniform_noise
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.meaningful_perturbation import MeaningfulPerturbation, discs, shifted, total_variation
from evident.explainers.shared.seeding import image_generator
from evident.models.normalise import Normalise


class Bright(nn.Module):
    """Give the first class a score that grows with the brightness of the region; the mean colour is black."""

    def __init__(self, region: Tensor, strength: float = 20.0) -> None:
        super().__init__()
        self.normalise = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.register_buffer("weight", region.double() / region.sum())
        self.strength = strength

    def forward(self, images: Tensor) -> Tensor:
        brightness = (self.normalise(images).mean(1) * self.weight.to(images)).sum((1, 2))
        score = self.strength * (brightness - 0.25)
        return torch.stack([score, torch.zeros_like(score)], 1)


def region(side: int = 56) -> Tensor:
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[8:24, 30:46] = True
    return mask


def bright_images(count: int = 2) -> Tensor:
    return 0.5 + 0.3 * uniform_noise(count, 56, seed=0)


def test_evidence_is_the_region_that_the_score_depends_on() -> None:
    explainer = MeaningfulPerturbation(Bright(region()), steps=60, reference="mean_colour")
    attribution = explainer.attribute(bright_images(), 0)[:, 0]
    assert attribution.min() >= 0
    assert attribution.max() <= 1
    assert (attribution[:, region()].mean(1) > 0.4).all()
    # Pixels far from the region are kept.
    assert (attribution[:, 36:, :20] < 1e-3).all()


def test_removing_the_evidence_suppresses_the_class() -> None:
    model, images = Bright(region()), bright_images()
    evidence = MeaningfulPerturbation(model, steps=60, reference="mean_colour").attribute(images, 0)
    assert (model(images).softmax(1)[:, 0] > 0.9).all()
    assert (model(images * (1 - evidence)).softmax(1)[:, 0] < 0.1).all()


def test_flat_image_which_blur_does_not_change_has_no_evidence() -> None:
    images = torch.full((1, 3, 56, 56), 0.7)
    attribution = MeaningfulPerturbation(Bright(region()), steps=40).attribute(images, 0)
    assert attribution.max() < 0.05


def by_equation_six(model: nn.Module, image: Tensor, steps: int, cells: int) -> Tensor:
    """Return 1 - m of one image (1, 3, H, W), in float64, with Adam written out and shifts of one pixel."""
    side = image.shape[-1]
    sigma = 10 / 224 * side
    blurred = torch.from_numpy(
        gaussian_filter(image.numpy(), sigma, mode="mirror", radius=round(3 * sigma), axes=(2, 3))
    )
    smoothing = 5 / 8 * side / cells
    radius = round(3 * smoothing)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / smoothing) ** 2)
    taps = taps / taps.sum()

    def upsample(coarse: Tensor) -> Tensor:
        large = F.interpolate(coarse, (side, side), mode="bilinear")
        large = F.conv2d(F.pad(large, (radius, radius, 0, 0), mode="reflect"), taps.view(1, 1, 1, -1))
        return F.conv2d(F.pad(large, (0, 0, radius, radius), mode="reflect"), taps.view(1, 1, -1, 1))

    def probability(x: Tensor, r: Tensor, mask: Tensor) -> Tensor:
        return model(mask * x + (1 - mask) * r).softmax(1)[0, 0]

    whole, nothing = (float(probability(x, x, torch.ones(()))) for x in (image, blurred))
    for disc in discs(cells, cells, image):
        coarse = disc[None]
        if probability(image, blurred, upsample(coarse)) <= nothing + 0.01 * max(whole - nothing, 0):
            break
    shifts = torch.randint(-1, 2, (steps, 2), generator=image_generator(image[0], 7)).tolist()
    first, second = torch.zeros_like(coarse), torch.zeros_like(coarse)
    for step, (down, right) in enumerate(shifts, 1):
        coarse = coarse.detach().requires_grad_()
        x, r = (
            F.pad(part, (1, 1, 1, 1), mode="replicate")[..., 1 - down : 1 - down + side, 1 - right : 1 - right + side]
            for part in (image, blurred)
        )
        energy = 1e-4 * (1 - coarse).abs().sum() + probability(x, r, upsample(coarse))
        for i in range(cells):
            for j in range(cells):
                for k, m in ((i + 1, j), (i, j + 1)):
                    if k < cells and m < cells:
                        energy = energy + 1e-2 * (coarse[0, 0, k, m] - coarse[0, 0, i, j]).abs() ** 3
        (gradient,) = torch.autograd.grad(energy, coarse)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        change = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        coarse = (coarse.detach() - 0.1 * change).clamp(0, 1)
    return 1 - upsample(coarse)


def test_mask_equals_equation_six() -> None:
    image = bright_images(1).double()
    # Pixels around the evidence are darker, so that blur lowers the probability.
    image[:, :, ~region()] *= 0.2
    model = Bright(region())
    ours = MeaningfulPerturbation(model, steps=6, cells=7, seed=7).attribute(image, 0)
    expected = by_equation_six(model, image, steps=6, cells=7)
    assert expected.max() > 0.1
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8)


def test_start_is_the_smallest_disc_that_suppresses_the_class() -> None:
    centre = torch.zeros(56, 56, dtype=torch.bool)
    centre[26:30, 26:30] = True
    explainer = MeaningfulPerturbation(Bright(centre), steps=1, learning_rate=1e-9, reference="mean_colour", jitter=0)
    small = explainer.attribute(bright_images(), 0).mean((1, 2, 3))
    everywhere = MeaningfulPerturbation(
        Bright(~centre), steps=1, learning_rate=1e-9, reference="mean_colour", jitter=0
    ).attribute(bright_images(), 0)
    assert (small < 0.1).all()
    assert (everywhere.mean((1, 2, 3)) > 0.6).all()


def test_discs_grow_from_a_tenth_of_the_diagonal_to_the_whole_image() -> None:
    masks = discs(20, 30, torch.zeros(1))
    sizes = (1 - masks).sum((1, 2, 3))
    assert masks.shape == (11, 1, 20, 30)
    assert sizes.diff().ge(0).all()
    assert sizes[0] < 0.05 * 600
    assert sizes[-1] == 600
    torch.testing.assert_close(masks, masks.flip(2).flip(3))


def test_images_shift_by_whole_pixels_with_replicated_borders() -> None:
    images = torch.arange(24.0).view(2, 1, 3, 4)
    moved = shifted(images, torch.tensor([[1, -2], [0, 1]]))
    assert moved[0, 0].tolist() == [[2, 3, 3, 3], [2, 3, 3, 3], [6, 7, 7, 7]]
    assert moved[1, 0].tolist() == [[12, 12, 13, 14], [16, 16, 17, 18], [20, 20, 21, 22]]


def test_total_variation_of_a_step_is_the_length_of_its_edge() -> None:
    mask = torch.zeros(2, 1, 4, 5)
    mask[0, 0, :2] = 0.5
    assert total_variation(mask, 3.0).tolist() == [5 * 0.125, 0]


def test_another_seed_draws_other_shifts() -> None:
    first, second = (
        MeaningfulPerturbation(Bright(region()), steps=8, seed=seed, reference="mean_colour").attribute(
            bright_images(1), 0
        )
        for seed in (0, 1)
    )
    assert not torch.equal(first, second)


@pytest.mark.parametrize("settings", [{"steps": 0}, {"cells": 0}])
def test_no_steps_or_no_cells_raise(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="needs one or more of each"):
        MeaningfulPerturbation(Bright(region()), **settings)


def test_unknown_reference_raises() -> None:
    reference: Any = "noise"
    with pytest.raises(UserError, match="reference='noise' is unknown; use blur or mean_colour"):
        MeaningfulPerturbation(Bright(region()), reference=reference)
