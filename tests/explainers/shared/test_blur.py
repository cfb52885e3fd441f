"""Gaussian blur, compared with scipy."""

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchvision.transforms.functional import gaussian_blur

from evident.explainers.shared.blur import blurred, blurred_lines


@pytest.mark.parametrize(("sigma", "height", "width"), [(1.3, 20, 31), (0.4, 9, 8), (4.0, 40, 40)])
def test_blur_agrees_with_scipy(sigma: float, height: int, width: int) -> None:
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = gaussian_filter(images.numpy(), sigma, mode="mirror", radius=round(3 * sigma), axes=(2, 3))
    torch.testing.assert_close(blurred(images, sigma), torch.from_numpy(expected))


def test_large_sigma_is_limited_by_the_size_of_the_image() -> None:
    images = torch.rand(1, 3, 5, 40)
    assert blurred(images, 30.0).shape == images.shape
    assert blurred(images, 30.0).std() < images.std() / 2


def test_sigma_zero_returns_the_images_unchanged() -> None:
    images = torch.rand(1, 3, 5, 4)
    assert torch.equal(blurred(images, 0.0), images)


def test_single_row_is_blurred_along_one_axis() -> None:
    images = torch.rand(1, 1, 1, 30, dtype=torch.float64)
    expected = gaussian_filter(images[0, 0, 0].numpy(), 1.0, mode="mirror", radius=3)
    torch.testing.assert_close(blurred(images, 1.0)[0, 0, 0], torch.from_numpy(expected))


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize(("sigma", "radius"), [(1.3, 4), (0.4, 1), (9.0, 11)])
def test_blur_with_a_gradient_that_repeats_on_a_gpu_is_that_of_torchvision(
    sigma: float, radius: int, axis: int
) -> None:
    images, weights = torch.rand(2, 2, 3, 12, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    size = [2 * radius + 1, 1] if axis == 3 else [1, 2 * radius + 1]
    results = []
    for blur in (
        lambda given: blurred_lines(given, sigma, radius, axis),
        lambda given: gaussian_blur(given, size, [sigma, sigma]),
    ):
        given = images.clone().requires_grad_()
        result = blur(given)
        results.append((result.detach(), *torch.autograd.grad((result * weights).sum(), given)))
    torch.testing.assert_close(*results)
