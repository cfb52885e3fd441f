"""Linear imputation: known pictures, a direct solver in double precision, and the imputation of Quantus."""

import numpy as np
import pytest
import torch
from samples import smooth_noise, uniform_noise
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor

from evident.errors import UserError
from evident.metrics.imputation import linear_imputation

WEIGHTS = {(y, x): 1 / 12 if y and x else 1 / 6 for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x}


def exact(image: Tensor, removed: Tensor) -> Tensor:
    """Return the solution (C, H, W) for one image by one equation per removed pixel and a direct solver."""
    place = {tuple(pixel): number for number, pixel in enumerate(removed.nonzero().tolist())}
    matrix, given = lil_matrix((len(place), len(place))), np.zeros((len(place), len(image)))
    for (y, x), number in place.items():
        near = {(y + dy, x + dx): weight for (dy, dx), weight in WEIGHTS.items()}
        near = {(y, x): w for (y, x), w in near.items() if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]}
        matrix[number, number] = 1
        for pixel, weight in near.items():
            share = weight / sum(near.values())
            if pixel in place:
                matrix[number, place[pixel]] = -share
            else:
                given[number] += share * image[:, pixel[0], pixel[1]].double().numpy()
    solved = image.double().clone()
    solved[:, removed] = torch.from_numpy(spsolve(matrix.tocsc(), given)).view(len(place), -1).T
    return solved


def regions(height: int, width: int) -> dict[str, Tensor]:
    """Return pixels (H, W) to remove: a centre, all but a centre, all but one pixel, smooth and scattered ones."""
    row, column = torch.arange(height)[:, None], torch.arange(width)
    centre = ((row - height // 2).abs() < height // 4) & ((column - width // 2).abs() < width // 4)
    smooth = smooth_noise(1, (height, width))[0, 0]
    return {
        "centre": centre,
        "border": ~centre,
        "all but one": (row != 3) | (column != 4),
        "smooth": smooth < smooth.median(),
        "scattered": torch.rand(height, width, generator=torch.Generator().manual_seed(1)) < 0.9,
    }


NAMES = list(regions(8, 8))


def sample(dtype: torch.dtype = torch.float64, height: int = 41, width: int = 36) -> Tensor:
    """Return one image (1, 3, H, W) in [0, 1], smooth with noise, whose sides are no multiples of a block."""
    noise = uniform_noise(1, max(height, width), dtype=dtype)[..., :height, :width]
    return (smooth_noise(1, (height, width), dtype=dtype) + 0.2 * noise) / 1.2


@pytest.mark.parametrize("name", NAMES)
def test_solution_is_that_of_a_direct_solver(name: str) -> None:
    image, removed = sample(), regions(41, 36)[name]
    expected = exact(image[0], removed)
    [found] = linear_imputation(image, removed[None], tolerance=1e-10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
    for dtype in (torch.float32, torch.float64):
        [found] = linear_imputation(image.to(dtype), removed[None])
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-3)
        assert found.dtype == dtype


def test_image_with_more_than_16_blocks_is_solved_too() -> None:
    image, removed = sample(height=9, width=150), regions(9, 150)["smooth"]
    [found] = linear_imputation(image, removed[None])
    torch.testing.assert_close(found, exact(image[0], removed), rtol=0, atol=1e-3)


def test_pixel_is_the_weighted_mean_of_its_neighbours() -> None:
    image = uniform_noise(1, 5, dtype=torch.float64)
    removed = torch.zeros(3, 5, 5, dtype=torch.bool)
    removed[0, 2, 2] = removed[1, 0, 0] = removed[2, 4, 1] = True
    inside, corner, border = linear_imputation(image.expand(3, -1, -1, -1), removed, tolerance=1e-12)
    [x] = image
    direct, diagonal = x[:, 1, 2] + x[:, 3, 2] + x[:, 2, 1] + x[:, 2, 3], x[:, 1::2, 1::2].sum((1, 2))
    torch.testing.assert_close(inside[:, 2, 2], direct / 6 + diagonal / 12)
    torch.testing.assert_close(corner[:, 0, 0], (2 * x[:, 0, 1] + 2 * x[:, 1, 0] + x[:, 1, 1]) / 5)
    around = 2 * (x[:, 4, 0] + x[:, 4, 2] + x[:, 3, 1]) + x[:, 3, 0] + x[:, 3, 2]
    torch.testing.assert_close(border[:, 4, 1], around / 8)


def test_linear_ramp_is_restored_inside() -> None:
    row, column = torch.arange(40.0).double()[:, None], torch.arange(44.0).double()
    ramp = torch.stack([row / 39 + 0 * column, column / 43 + 0 * row, (2 * row + column) / 121])[None]
    centre = regions(40, 44)["centre"][None]
    damaged = ramp.masked_fill(centre[:, None], 0.5)
    torch.testing.assert_close(linear_imputation(damaged, centre, tolerance=1e-10), ramp, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_constant_image_is_restored_up_to_its_border(name: str) -> None:
    removed = regions(24, 30)[name][None]
    colour = torch.tensor([0.2, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 24, 30)
    found = linear_imputation(colour.masked_fill(removed[:, None], 0), removed)
    torch.testing.assert_close(found, colour, rtol=0, atol=1e-3)


def test_given_pixels_keep_their_values_and_removed_ones_do_not_count() -> None:
    image, removed = sample(torch.float32), regions(41, 36)["smooth"][None]
    found = linear_imputation(image, removed)
    assert torch.equal(found[:, :, ~removed[0]], image[:, :, ~removed[0]])
    assert torch.equal(found, linear_imputation(image.masked_fill(removed[:, None], 7), removed))
    assert torch.equal(linear_imputation(image, torch.zeros_like(removed)), image)


def test_image_does_not_depend_on_its_batch() -> None:
    """They need different numbers of steps."""
    removed = torch.stack([*regions(41, 36).values(), torch.zeros(41, 36, dtype=torch.bool)])
    images = sample(torch.float32).expand(len(removed), -1, -1, -1)
    together = linear_imputation(images, removed)
    for n in range(len(removed)):
        alone = linear_imputation(images[n : n + 1], removed[n : n + 1])
        torch.testing.assert_close(alone[0], together[n], rtol=0, atol=1e-6)


def test_number_of_steps_is_limited() -> None:
    image, removed = sample(), regions(41, 36)["border"][None]
    few, more = (linear_imputation(image, removed, most=most) for most in (1, 10))
    assert not torch.allclose(few, more, atol=1e-2)


def test_imputation_equals_that_of_quantus(quantus) -> None:
    image, removed = sample(), regions(41, 36)["smooth"]
    indices = removed.flatten().nonzero()[:, 0].numpy()
    theirs = quantus.functions.perturb_func.noisy_linear_imputation(image[0].numpy(), indices, noise=0)
    [found] = linear_imputation(image, removed[None], tolerance=1e-10)
    torch.testing.assert_close(found, torch.from_numpy(theirs), rtol=0, atol=1e-7)


def test_image_without_given_pixels_is_refused() -> None:
    with pytest.raises(UserError, match="keep one at least"):
        linear_imputation(sample(), torch.ones(1, 41, 36, dtype=torch.bool))
