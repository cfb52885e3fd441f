"""Stability: explainers whose change is known, and captum's max-sensitivity."""

import pytest
import torch
from captum.attr import Attribution
from captum.metrics import sensitivity_max
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.captum_method import CaptumMethod
from evident.explainers.reference_rows import Oracle
from evident.explainers.shared.seeding import image_generator
from evident.metrics.contract import Explanation
from evident.metrics.stability import stability
from evident.models.flower_net import FlowerNet


class Scaled(Attribution):
    """Explains by a function of the pixels."""

    def __init__(self, function) -> None:
        super().__init__(nn.Identity())
        self.function = function

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        return self.function(inputs)

    @staticmethod
    def heatmap(attribution: Tensor) -> Tensor:
        return attribution.sum(1)


def pictures(count: int = 3) -> Tensor:
    return 0.1 + 0.8 * torch.rand(count, 3, 12, 14, generator=torch.Generator().manual_seed(0))


def explained(explainer: Attribution, images: Tensor, mask: Tensor | None = None) -> Explanation:
    target = torch.arange(len(images))
    further = {} if mask is None else {"mask": mask}
    heatmap = explainer.heatmap(explainer.attribute(images, target, **further))
    return Explanation(images, target, heatmap, mask, explainer=explainer)


def noise(images: Tensor, draws: int, radius: float, seed: int = 0) -> list[Tensor]:
    """The noise of each draw, image by image."""
    generators = [image_generator(image, seed) for image in images]
    return [
        torch.stack([torch.rand(images.shape[1:], generator=g) * 2 - 1 for g in generators]) * radius
        for _ in range(draws)
    ]


def test_a_heatmap_that_hears_no_noise_is_perfectly_stable() -> None:
    constant = Scaled(torch.ones_like)
    assert stability(explained(constant, pictures())).tolist() == [0, 0, 0]


def test_of_a_heatmap_that_is_the_image_it_is_the_size_of_the_noise() -> None:
    images = pictures()
    expected = torch.stack(
        [d.sum(1).flatten(1).double().norm(dim=1) / images.sum(1).flatten(1).double().norm(dim=1)
         for d in noise(images, 4, 0.05)]
    ).amax(0)  # fmt: skip
    result = stability(explained(Scaled(lambda x: x), images), radius=0.05, draws=4)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=0)
    # Whatever unit the heatmap is in.
    scaled = stability(explained(Scaled(lambda x: 1000 * x), images), radius=0.05, draws=4)
    torch.testing.assert_close(scaled, result, rtol=1e-5, atol=0)


def test_noise_stays_in_the_image_range() -> None:
    # A white image can only get darker.
    def brighter(images: Tensor) -> Tensor:
        assert images.max() <= 1
        assert images.min() >= 0
        return images

    stability(explained(Scaled(brighter), torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 8, 8)), radius=0.5)


def test_more_draws_never_find_less() -> None:
    explanation = explained(Scaled(torch.square), pictures())
    few, many = (stability(explanation, draws=draws) for draws in (1, 5))
    assert (few <= many).all()
    assert (few < many).any()
    assert not torch.equal(stability(explanation, draws=1, seed=1), few)


def test_a_heatmap_of_zeros_is_undefined() -> None:
    explanation = explained(Scaled(lambda x: x * (x.amax((1, 2, 3), keepdim=True) > 0.5)), pictures(2) * 0.5)
    assert stability(explanation).isnan().tolist() == [True, True]


def test_an_explainer_that_needs_the_mask_gets_it() -> None:
    mask = torch.rand(3, 12, 14) > 0.5
    assert stability(explained(Oracle(nn.Identity()), pictures(), mask)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("method", ["captum.attr.Saliency", "captum.attr.InputXGradient"])
def test_it_is_captums_max_sensitivity(method: str) -> None:
    torch.manual_seed(0)
    explainer = CaptumMethod(FlowerNet(6).eval(), method, "absolute_maximum")
    images = pictures()
    explanation = explained(explainer, images)
    drawn = iter(noise(images, 3, 0.02))

    # captum hands over tuples, but not for noise, and wants tuples back.
    theirs = sensitivity_max(
        lambda inputs, target: (explainer.heatmap(explainer.attribute(inputs[0], target)),),
        images,
        perturb_func=lambda inputs, radius: ((inputs + next(drawn)).clamp(0, 1),),
        n_perturb_samples=3,
        max_examples_per_batch=len(images),
        target=explanation.target,
    )
    torch.testing.assert_close(stability(explanation, draws=3), theirs.double(), rtol=1e-4, atol=1e-6)


def test_what_is_missing_or_impossible_is_named() -> None:
    explanation = explained(Scaled(torch.square), pictures())
    with pytest.raises(UserError, match="asks the explainer again"):
        stability(Explanation(explanation.images, explanation.target, explanation.heatmap))
    for settings in ({"draws": 0}, {"radius": 0}):
        with pytest.raises(UserError, match="draws from 1 on and a radius above 0"):
            stability(explanation, **settings)
