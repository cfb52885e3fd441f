"""Images without evidence: the blur is computed once for the same images, and anew for others."""

from typing import Any

import pytest
import torch
from samples import smooth_noise
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from evident.errors import UserError
from evident.models import reference_images as module
from evident.models.reference_images import reference_images


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Forget what is kept, and return a list of the images that are blurred from now on."""
    seen: list[Tensor] = []

    def noted(images: Tensor, *settings: Any) -> Tensor:
        seen.append(images)
        return gaussian_blur(images, *settings)

    monkeypatch.setattr(module, "gaussian_blur", noted)
    monkeypatch.setattr(module, "_last", [])
    return seen


def blur(images: Tensor) -> Tensor:
    return reference_images(images, nn.Identity(), "blur")


def test_the_same_images_are_blurred_once(calls: list[Tensor]) -> None:
    images = smooth_noise(2)
    expected = gaussian_blur(images, [2 * int(0.3 * images.shape[-1]) + 1] * 2, [images.shape[-1] / 10] * 2)
    assert torch.equal(blur(images), expected)
    assert torch.equal(blur(images.clone()), expected)
    assert len(calls) == 1


def test_other_images_are_blurred_anew(calls: list[Tensor]) -> None:
    images = smooth_noise(2)
    before = blur(images).clone()
    images[0] = 0.5  # in the caller's own tensor
    assert torch.allclose(blur(images)[0], torch.tensor(0.5))
    assert torch.equal(blur(images)[1], before[1])
    assert blur(images.double()).dtype == torch.float64
    assert blur(images[:1]).shape[0] == 1
    assert len(calls) == 4


def test_what_was_kept_in_inference_mode_may_have_gradients(calls: list[Tensor]) -> None:
    images = smooth_noise(1)
    with torch.inference_mode():
        blur(images)
    weight = torch.ones(1, requires_grad=True)
    (weight * blur(images.requires_grad_())).sum().backward()
    assert weight.grad is not None
    assert len(calls) == 1


def test_unknown_kind_is_named() -> None:
    with pytest.raises(UserError, match="reference='grey' is unknown; use mean_colour or blur"):
        reference_images(smooth_noise(1), nn.Identity(), "grey")  # type: ignore[arg-type]
