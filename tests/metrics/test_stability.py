"""Stability: explainers whose change is known, and max-sensitivity of captum."""

import pytest
import torch
from captum.metrics import sensitivity_max
from pixel_explainers import Scaled, explained, images_in_range
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.captum_method import CaptumMethod
from evident.explainers.reference_rows import Oracle
from evident.explainers.shared.seeding import image_generator
from evident.metrics.contract import Explanation
from evident.metrics.stability import stability
from evident.models.flower_net import FlowerNet


def noise(images: Tensor, draws: int, radius: float, seed: int = 0) -> list[Tensor]:
    """Return the noise of each draw, image by image."""
    generators = [image_generator(image, seed) for image in images]
    return [
        torch.stack([torch.rand(images.shape[1:], generator=g) * 2 - 1 for g in generators]) * radius
        for _ in range(draws)
    ]


def test_constant_heatmap_scores_zero() -> None:
    constant = Scaled(torch.ones_like)
    assert stability(explained(constant, images_in_range())).tolist() == [0, 0, 0]


def test_heatmap_equal_to_the_image_scores_the_relative_size_of_the_noise() -> None:
    images = images_in_range()
    expected = torch.stack(
        [d.sum(1).flatten(1).double().norm(dim=1) / images.sum(1).flatten(1).double().norm(dim=1)
         for d in noise(images, 4, 0.05)]
    ).amax(0)  # fmt: skip
    result = stability(explained(Scaled(lambda x: x), images), radius=0.05, draws=4)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=0)
    # The scale of the heatmap has no effect.
    scaled = stability(explained(Scaled(lambda x: 1000 * x), images), radius=0.05, draws=4)
    torch.testing.assert_close(scaled, result, rtol=1e-5, atol=0)


def test_noisy_images_stay_in_range() -> None:
    # A white image can only get darker.
    def brighter(images: Tensor) -> Tensor:
        assert images.max() <= 1
        assert images.min() >= 0
        return images

    stability(explained(Scaled(brighter), torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 8, 8)), radius=0.5)


def test_score_does_not_decrease_with_more_draws() -> None:
    explanation = explained(Scaled(torch.square), images_in_range())
    few, many = (stability(explanation, draws=draws) for draws in (1, 5))
    assert (few <= many).all()
    assert (few < many).any()
    assert not torch.equal(stability(explanation, draws=1, seed=1), few)


def test_zero_heatmap_is_nan() -> None:
    explanation = explained(Scaled(lambda x: x * (x.amax((1, 2, 3), keepdim=True) > 0.5)), images_in_range(2) * 0.5)
    assert stability(explanation).isnan().tolist() == [True, True]


def test_mask_is_passed_to_explainers_that_need_it() -> None:
    mask = torch.rand(3, 12, 14) > 0.5
    assert stability(explained(Oracle(nn.Identity()), images_in_range(), mask)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("method", ["captum.attr.Saliency", "captum.attr.InputXGradient"])
def test_stability_equals_max_sensitivity_of_captum(method: str) -> None:
    torch.manual_seed(0)
    explainer = CaptumMethod(FlowerNet(6).eval(), method, "absolute_maximum")
    images = images_in_range()
    explanation = explained(explainer, images)
    drawn = iter(noise(images, 3, 0.02))

    # captum passes tuples, except for noise, and expects tuples.
    theirs = sensitivity_max(
        lambda inputs, target: (explainer.heatmap(explainer.attribute(inputs[0], target)),),
        images,
        perturb_func=lambda inputs, radius: ((inputs + next(drawn)).clamp(0, 1),),
        n_perturb_samples=3,
        max_examples_per_batch=len(images),
        target=explanation.target,
    )
    torch.testing.assert_close(stability(explanation, draws=3), theirs.double(), rtol=1e-4, atol=1e-6)


def test_missing_or_invalid_arguments_are_named() -> None:
    explanation = explained(Scaled(torch.square), images_in_range())
    with pytest.raises(UserError, match="needs the explainer"):
        stability(Explanation(explanation.images, explanation.target, explanation.heatmap))
    for settings in ({"draws": 0}, {"radius": 0}):
        with pytest.raises(UserError, match="draws >= 1 and radius > 0"):
            stability(explanation, **settings)
