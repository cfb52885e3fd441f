"""Extremal perturbations: masks compared with their definition, and on a network with known evidence."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.extremal_perturbation import ExtremalPerturbation, area_penalty, perturbed, pyramid
from evident.explainers.shared.smooth_masks import CellMasks, PixelMasks
from evident.models.normalise import Normalise


class Contrast(nn.Module):
    """Give the first class the contrast of a fine pattern in the region as its score; blur removes the pattern."""

    def __init__(self, region: Tensor, strength: float = 1.0) -> None:
        super().__init__()
        rows, columns = torch.meshgrid(*map(torch.arange, region.shape), indexing="ij")
        self.register_buffer("pattern", ((rows + columns) % 2 * 2.0 - 1) * region / region.sum())
        self.strength = strength

    def forward(self, images: Tensor) -> Tensor:
        score = 60 * self.strength * (images.mean(1) * self.pattern.to(images)).sum((1, 2))
        return torch.stack([score, -score], 1)


def region(side: int = 65) -> Tensor:
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[8:34, 34:60] = True
    return mask


def chequered(side: int = 65, count: int = 1) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (0.5 + 0.4 * ((rows + columns) % 2 * 2.0 - 1)).expand(count, 3, -1, -1).contiguous()


def test_mask_equals_the_soft_maximum_around_each_cell() -> None:
    coarse = torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = CellMasks(coarse).smooth(coarse)
    for n in range(2):
        for i in range(-3, 9):
            for j in range(-3, 8):
                numerator = denominator = 0.0
                for k in range(i - 5, i + 6):
                    for m in range(j - 5, j + 6):
                        v = float(coarse[n, 0, k, m]) if 0 <= k < 6 and 0 <= m < 5 else 0.0
                        distance = math.hypot(i - k, j - m) / 3
                        z = math.exp(-2 * max(distance - 0.5, 0) ** 2) * v
                        numerator, denominator = numerator + z * math.exp(20 * z), denominator + math.exp(20 * z)
                assert float(ours[n, 0, i + 3, j + 3]) == pytest.approx(numerator / denominator, rel=1e-9)


def test_single_cell_becomes_a_smooth_disc() -> None:
    coarse = torch.zeros(1, 1, 17, 17)
    coarse[0, 0, 8, 8] = 1
    row = CellMasks(coarse).smooth(coarse)[0, 0, 11]
    assert row[11] > 0.99
    assert row[11:].diff().le(0).all()
    torch.testing.assert_close(row, row.flip(0))
    assert row[18:].max() < 1e-6


def test_penalty_is_the_distance_of_the_sorted_mask_from_ones_and_zeros() -> None:
    masks = torch.rand(2, 3, 1, 5, 7, generator=torch.Generator().manual_seed(0))
    penalty = area_penalty(masks, torch.tensor([3, 10, 34]))
    for n in range(2):
        for a, cells in enumerate((3, 10, 34)):
            values = sorted(masks[n, a].flatten().tolist())
            wanted = [0.0] * (35 - cells) + [1.0] * cells
            expected = sum((v - w) ** 2 for v, w in zip(values, wanted, strict=True)) / 35
            assert float(penalty[n, a]) == pytest.approx(expected, rel=1e-5)


def test_binary_mask_of_the_area_has_no_penalty() -> None:
    mask = torch.zeros(1, 1, 1, 4, 5)
    mask[0, 0, 0, 1, 1:4] = 1
    assert area_penalty(mask, torch.tensor([3])) == 0
    assert area_penalty(mask, torch.tensor([4])) > 0


def test_mask_interpolates_between_the_image_and_its_blurs() -> None:
    images = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = pyramid(images, 4.0)
    whole = perturbed(levels, images.new_ones(2, 1, 1, 20, 20))
    torch.testing.assert_close(whole[:, 0], images)
    nothing = perturbed(levels, images.new_zeros(2, 1, 1, 20, 20))
    torch.testing.assert_close(nothing[:, 0], levels[:, 0])
    between = perturbed(levels, images.new_full((2, 1, 1, 20, 20), 2.25 / 7))
    torch.testing.assert_close(between[:, 0], 0.75 * levels[:, 2] + 0.25 * levels[:, 3])


def test_gradient_is_not_zero_where_the_mask_is_one() -> None:
    levels = pyramid(chequered(20).double(), 4.0)
    masks = torch.ones(1, 1, 1, 20, 20, dtype=torch.float64, requires_grad=True)
    visible = perturbed(levels, masks)
    (gradient,) = torch.autograd.grad((visible * chequered(20).double()).sum(), masks)
    assert (gradient != 0).all()


def test_masks_have_their_areas_and_lie_on_the_evidence() -> None:
    areas = (0.06, 0.12)
    explainer = ExtremalPerturbation(Contrast(region()), areas, steps=40, flip=False)
    masks = explainer.masks(chequered(), 0)
    assert masks.shape == (1, 2, 65, 65)
    assert (masks > 0.5).double().mean((2, 3))[0].tolist() == pytest.approx(areas, rel=0.35)
    for mask in masks[0]:
        assert mask[region()].sum() > 0.8 * mask.sum()
    torch.testing.assert_close(explainer.attribute(chequered(), 0), masks.mean(1, keepdim=True))


def by_definition(model: nn.Module, image: Tensor, area: float, steps: int) -> Tensor:
    """Return one mask of one square image, in float64, with momentum written out."""
    side = image.shape[-1]
    levels, masks = pyramid(image, 20 / 224 * side), CellMasks(image)
    unit = 25 / max(1.0, float(model(image)[0, 0] - model(levels[:, 0])[0, 0]))
    v, faster = image.new_ones(1, 1, 32, 32), min(800 / steps, 20)
    velocity = torch.zeros_like(v)
    for step in range(steps):
        v = v.detach().requires_grad_()
        mask = masks.smooth(v)
        on_image = F.interpolate(mask[..., 3:-3, 3:-3], (side, side), mode="bilinear")
        visible = perturbed(levels, on_image[None])[0]
        ordered = mask.flatten().sort().values
        wanted = torch.zeros_like(ordered)
        wanted[len(wanted) - math.ceil(area * 32 * 32) :] = 1
        weight = 300 * 1.0035 ** (faster * step)
        score = model(visible.flip(3) if step % 2 == 0 else visible)[0, 0]
        energy = (weight * ((ordered - wanted) ** 2).mean() if step else 0) - unit * score
        (gradient,) = torch.autograd.grad(energy, v)
        velocity = gradient if step == 0 else 0.9 * velocity + 0.1 * gradient
        v = (v.detach() - 0.01 * faster * velocity).clamp(0, 1)
    return on_image.detach()


def test_masks_equal_gradient_descent_with_momentum() -> None:
    image = torch.rand(1, 3, 65, 65, generator=torch.Generator().manual_seed(0)).double()
    # The score depends on every pixel, so no two cells are equal after the first step.
    model = Contrast(torch.ones(65, 65, dtype=torch.bool))
    model.pattern *= 1 + torch.rand(65, 65, generator=torch.Generator().manual_seed(1))
    ours = ExtremalPerturbation(model, (0.05, 0.15), steps=5).masks(image, 0)
    for n, area in enumerate((0.05, 0.15)):
        torch.testing.assert_close(ours[:, n : n + 1], by_definition(model, image, area, 5), rtol=1e-6, atol=1e-9)


# The published formula, TorchRay's


class SmallNetwork(nn.Module):
    """A network of two convolutions for grey-mean images of any size, in float64."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.normalise = Normalise((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Conv2d(6, 3, 3, stride=2), nn.Tanh())
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return 30 * self.layers(self.normalise(images)).mean((2, 3))


def torchray(
    model: SmallNetwork,
    image: Tensor,
    target: int,
    area: float,
    start: Tensor,
    steps: int,
    step: int,
    sigma: float,
    blur: float,
) -> list[tuple[Tensor, float, float]]:
    """Return mask, reward and penalty of every step, from the description of TorchRay's optimisation.

    Everything is a dense product: the mask is a soft maximum over a matrix of pixels and cells, a blur two Toeplitz
    matrices, the interpolation between the levels a sum of hat functions.
    """
    height, width = image.shape[-2:]
    cells = [math.ceil(side / step) for side in (height, width)]
    padding, radius = 1 + math.ceil(2 * sigma / step), 1 + math.ceil(sigma / step)
    out = [step * (count + 2 * padding - 2 * radius) - step + 1 for count in cells]
    rows, columns = (
        (torch.arange(side)[:, None].double(), torch.arange(count)[None].double())
        for side, count in zip(out, cells, strict=True)
    )
    squares, inside = [], []
    for pixel, cell in (rows, columns):
        first = (pixel / step).floor() - padding
        squares.append((pixel - (sigma + step * cell)) ** 2)
        inside.append((cell >= first) & (cell <= first + 2 * radius))
    near = inside[0][:, None, :, None] & inside[1][None, :, None, :]
    distance = (squares[0][:, None, :, None] + squares[1][None, :, None, :]).sqrt() / sigma
    weight = (torch.exp(-2 * (distance - 0.5).clamp(min=0) ** 2) * near).flatten(2).flatten(0, 1)
    near = near.flatten(2).flatten(0, 1)
    beyond = (2 * radius + 1) ** 2 - near.sum(1)  # cells beyond the border, whose value is zero

    def smooth(v: Tensor) -> Tensor:
        z = weight * v.flatten()
        soft = torch.exp(20 * z) * near
        return ((soft * z).sum(1) / (soft.sum(1) + beyond)).view(out)

    mean = model.normalise.mean[0]
    levels = []
    for level in range(8):
        deviation = blur * (1 - level / 7)
        reach = math.ceil(4 * deviation)
        taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).double() / max(deviation, 1e-9)) ** 2)
        matrices = []
        for side in (height, width):
            offset = torch.arange(side)[:, None] - torch.arange(side)[None]
            matrix = torch.exp(-0.5 * (offset.double() / max(deviation, 1e-9)) ** 2) * (offset.abs() <= reach)
            matrices.append(matrix / taps.sum())
        levels.append(mean + matrices[0] @ (image[0] - mean) @ matrices[1].T)
    v, velocity, weight_of_area = start, torch.zeros(cells).double(), 300.0
    ones = math.prod(out) - int(math.prod(out) * (1 - area))
    margin, found = round(sigma), []
    for number in range(steps):
        v = v.detach().requires_grad_()
        whole = smooth(v)
        mask = whole[margin : margin + height, margin : margin + width]
        shown = sum((1 - (7 * mask - level).abs()).clamp(min=0) * blurred for level, blurred in enumerate(levels))
        assert isinstance(shown, Tensor)
        reward = model((shown.flip(2) if number % 2 == 0 else shown)[None])[0, target]
        ordered = whole.flatten().sort(stable=True).values
        wanted = (torch.arange(len(ordered)) >= len(ordered) - ones).double()
        penalty = weight_of_area * ((ordered - wanted) ** 2).mean()
        (gradient,) = torch.autograd.grad(reward - penalty, v)
        found.append((mask.detach(), float(reward.detach()), float(penalty.detach())))
        velocity = gradient if number == 0 else 0.9 * velocity + 0.1 * gradient
        v = (v.detach() + 0.01 * velocity).clamp(0, 1)
        weight_of_area *= 1.0035
    return found


@pytest.mark.parametrize("size", [(64, 64), (50, 64)], ids=["square", "wide"])
def test_published_formula_equals_torchray_step_by_step(size: tuple[int, int]) -> None:
    model, areas, steps = SmallNetwork(), (0.1, 0.2), 8
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    blur = 20 / 224
    explainer = ExtremalPerturbation(model, areas, steps, blur, published=True, pace=1)
    # Where all cells are one, rounding decides the order of the pixels; here they differ.
    start = (
        1 - 0.1 * torch.rand(2, 1, *(side // 2 for side in size), generator=torch.Generator().manual_seed(1)).double()
    )
    ours = list(explainer.search(image, torch.tensor([1]), start))
    assert len(ours) == steps
    for number, area in enumerate(areas):
        theirs = torchray(model, image, 1, area, start[number, 0], steps, step=2, sigma=6.0, blur=blur * min(size))
        for mine, (mask, reward, penalty) in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine.masks[number, 0], mask, rtol=1e-7, atol=1e-9)
            assert float(mine.scores[number]) == pytest.approx(reward, rel=1e-7)
            assert float(mine.penalties[number]) == pytest.approx(penalty, rel=1e-7)
    last = list(explainer.search(image, torch.tensor([1])))[-1]
    assert torch.equal(explainer.masks(image, 1)[0], last.masks[:, 0])
    # The search has moved, so that the comparison means something.
    assert (ours[-1].masks - ours[0].masks).abs().max() > 0.01


def test_masks_of_torchray_have_its_numbers_at_its_size() -> None:
    masks = PixelMasks(torch.zeros(1, 3, 224, 224))
    assert (masks.shape, masks.cell, masks.sigma) == ((32, 32), 7, 21)
    smooth = masks.smooth(torch.ones(1, 1, 32, 32))
    assert smooth.shape == (1, 1, 260, 260)
    assert masks.on_image(smooth).shape == (1, 1, 224, 224)
    assert masks.ones(0.1) == 260 * 260 - int(260 * 260 * 0.9)


def test_masks_at_cells_approximate_those_at_pixels() -> None:
    images = torch.zeros(1, 3, 224, 224)
    coarse = torch.zeros(1, 1, 32, 32)
    coarse[0, 0, 8:20, 10:16] = 1
    at_cells, at_pixels = (masks.on_image(masks.smooth(coarse)) for masks in (CellMasks(images), PixelMasks(images)))
    # A cell of `PixelMasks` lies at its first pixel, three pixels before the centre of `CellMasks`.
    difference = (at_cells[..., 3:, 3:] - at_pixels[..., :-3, :-3]).abs()
    assert difference.max() < 0.15
    assert difference.mean() < 0.01


def test_scaled_scores_give_the_same_masks() -> None:
    small, large = (ExtremalPerturbation(Contrast(region(), factor), (0.1,), 12) for factor in (1.0, 8.0))
    torch.testing.assert_close(
        small.attribute(chequered().double(), 0), large.attribute(chequered().double(), 0), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("flip", [False, True])
def test_evidence_in_the_mirrored_image_counts_only_with_flip(flip: bool) -> None:
    mirrored = region().flip(1) & ~region()
    mask = ExtremalPerturbation(Contrast(region()), (0.15,), 40, flip=flip).masks(chequered(), 0)[0, 0]
    assert mask[region() | mirrored].sum() > 0.7 * mask.sum()
    assert (mask[mirrored].sum() > 0.1 * mask.sum()) == flip


@pytest.mark.parametrize("settings", [{"areas": ()}, {"areas": (0.1, 1.0)}, {"areas": (0.0,)}, {"steps": 0}])
def test_no_steps_or_invalid_areas_raise(settings: dict) -> None:
    with pytest.raises(UserError, match="use one step or more, and areas between 0 and 1"):
        ExtremalPerturbation(Contrast(region()), **settings)
