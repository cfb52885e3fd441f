"""Local Lipschitz estimate: explainers whose change is known, and the estimate of Quantus."""

from types import ModuleType

import numpy as np
import pytest
import torch
from pixel_explainers import Scaled, explained, images_in_range
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.captum_method import CaptumMethod
from evident.explainers.reference_rows import Oracle
from evident.explainers.shared.seeding import image_generator
from evident.metrics.contract import Explanation
from evident.metrics.lipschitz import lipschitz
from evident.metrics.stability import stability
from evident.models.flower_net import FlowerNet


def noisy(images: Tensor, draws: int, radius: float = 0.02) -> list[Tensor]:
    """Return the noisy images of each draw, image by image."""
    generators = [image_generator(image, 0) for image in images]
    return [
        torch.stack(
            [
                (image + radius * (2 * torch.rand(image.shape, generator=g) - 1)).clamp(0, 1)
                for image, g in zip(images, generators, strict=True)
            ]
        )
        for _ in range(draws)
    ]


def test_constant_heatmap_scores_zero() -> None:
    assert lipschitz(explained(Scaled(torch.ones_like), images_in_range())).tolist() == [0, 0, 0]


@pytest.mark.parametrize("function", [torch.square, lambda x: 1000 * x.square()])
def test_score_is_the_largest_change_of_the_unit_heatmap_per_change_of_the_image(function) -> None:
    images = images_in_range()
    found = lipschitz(explained(Scaled(function), images), radius=0.05, draws=4)
    for n, image in enumerate(images):
        ratios = []
        for draw in noisy(images, 4, 0.05):
            before, after = (x.square().sum(0).double().numpy() for x in (image, draw[n]))
            change = np.linalg.norm(before / np.linalg.norm(before) - after / np.linalg.norm(after))
            ratios.append(change / np.linalg.norm((image.double() - draw[n].double()).numpy()))
        assert found[n].item() == pytest.approx(max(ratios), rel=1e-5)


def test_heatmap_of_one_pixel_has_the_known_score() -> None:
    # The first pixel is one in the image and the second in any other: orthogonal unit maps.
    def jumps(x: Tensor) -> Tensor:
        maps = torch.zeros_like(x)
        maps[:, 0, 0, 0] = x[:, 0, 0, 0] == 0.5
        maps[:, 0, 0, 1] = 7 * (x[:, 0, 0, 0] != 0.5)
        return maps

    image = torch.full((1, 3, 2, 2), 0.5)
    [moved] = noisy(image, 1)
    expected = 2**0.5 / (moved.double() - image.double()).norm().item()
    assert lipschitz(explained(Scaled(jumps), image), draws=1).item() == pytest.approx(expected)


def test_score_is_that_of_stability_over_the_size_of_the_noise_if_the_norm_stays() -> None:
    def rolled(x: Tensor) -> Tensor:
        """Return one map of norm 1, at a place that depends on the image."""
        maps = torch.zeros_like(x).flatten(2)
        place = (1000 * x.double().mean((1, 2, 3))).long() % maps.shape[2]
        maps[torch.arange(len(x)), 0, place] = 1
        return maps.view_as(x)

    explanation = explained(Scaled(rolled), images_in_range())
    [draw] = noisy(explanation.images, 1)
    size = (draw.double() - explanation.images.double()).flatten(1).norm(dim=1)
    torch.testing.assert_close(lipschitz(explanation, draws=1) * size, stability(explanation, draws=1))


def test_zero_heatmap_is_nan_and_a_heatmap_that_vanishes_is_defined() -> None:
    images = images_in_range(2) * 0.5
    nothing = explained(Scaled(lambda x: x * (x.amax((1, 2, 3), keepdim=True) > 0.5)), images)
    assert lipschitz(nothing).isnan().tolist() == [True, True]
    original = images.clone()
    vanishing = explained(Scaled(lambda x: x * (x == original).float()), images)
    [draw] = noisy(images, 1)
    expected = 1 / (draw.double() - images.double()).flatten(1).norm(dim=1)
    torch.testing.assert_close(lipschitz(vanishing, draws=1), expected)


def test_mask_is_passed_to_explainers_that_need_it() -> None:
    mask = torch.rand(3, 12, 14, generator=torch.Generator().manual_seed(0)) > 0.5
    assert lipschitz(explained(Oracle(nn.Identity()), images_in_range(), mask)).tolist() == [0, 0, 0]


def test_missing_or_invalid_arguments_are_named() -> None:
    explanation = explained(Scaled(torch.square), images_in_range())
    with pytest.raises(UserError, match="lipschitz explains noisy images and needs the explainer"):
        lipschitz(Explanation(explanation.images, explanation.target, explanation.heatmap))
    for settings in ({"draws": 0}, {"radius": 0}):
        with pytest.raises(UserError, match="lipschitz needs draws >= 1 and radius > 0"):
            lipschitz(explanation, **settings)


@pytest.mark.filterwarnings("ignore")  # of Quantus
def test_score_is_the_local_lipschitz_estimate_of_quantus(quantus: ModuleType) -> None:
    torch.manual_seed(0)
    model = FlowerNet(6).eval()
    explainer = CaptumMethod(model, "captum.attr.Saliency", "absolute_maximum")
    images = images_in_range()
    explanation, drawn = explained(explainer, images), iter(noisy(images, 3))

    def explain(model, inputs, targets, **_) -> np.ndarray:
        images = torch.as_tensor(inputs, dtype=torch.float32)
        return explainer.heatmap(explainer.attribute(images, torch.as_tensor(targets)))[:, None].double().numpy()

    theirs = quantus.LocalLipschitzEstimate(
        nr_samples=3,
        perturb_func=lambda arr, **_: next(drawn).flatten(1).numpy(),
        normalise_func=lambda a, **_: a / np.linalg.norm(a.reshape(len(a), -1), axis=1).reshape(-1, 1, 1, 1),
        disable_warnings=True,
    )(
        model,
        images.numpy(),
        explanation.target.numpy(),
        explanation.heatmap[:, None].double().numpy(),
        explain_func=explain,
        channel_first=True,
        device="cpu",
    )
    assert lipschitz(explanation).tolist() == pytest.approx(np.asarray(theirs).tolist(), rel=1e-4)
