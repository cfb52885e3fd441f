"""Sparsity: known answers on a model of brightness, and plain loops on a small network."""

import pytest
import torch
from samples import Brightness, unbiased_network
from torch import Tensor

from evident.errors import UserError
from evident.metrics.contract import Explanation
from evident.metrics.sparsity import sparsity


def lit(pixels: int) -> Tensor:
    """Return an image (1, 3, 10, 10) whose first pixels are white and the others black."""
    return (torch.arange(100) < pixels).float().view(1, 1, 10, 10).expand(1, 3, 10, 10)


def needed(heatmap: Tensor, images: Tensor, target: int = 0, **settings) -> list[float]:
    classes = torch.full((len(heatmap),), target)
    return sparsity(Explanation(images, classes, heatmap, model=Brightness()), **settings).tolist()


@pytest.mark.parametrize(("share", "pixels"), [(1.0, 25), (0.8, 20), (0.04, 1)])
def test_true_order_needs_the_bright_pixels_only(share: float, pixels: int) -> None:
    image = lit(25)
    # Near the solution, a step is smaller than a pixel.
    [found] = needed(image[:, 0], image, share=share, steps=200)
    assert found == pytest.approx(pixels / 100)


def test_inverted_order_needs_all_dark_pixels() -> None:
    image = lit(25)
    assert needed(-image[:, 0], image, share=1, steps=200) == pytest.approx([1])
    assert needed(-image[:, 0], image, share=0.04, steps=200) == pytest.approx([0.76], abs=0.02)


def test_random_order_of_equal_pixels_needs_the_share_itself() -> None:
    image = torch.ones(1, 3, 10, 10).expand(40, -1, -1, -1) / 2
    heatmap = torch.rand(40, 10, 10, generator=torch.Generator().manual_seed(0))
    assert needed(heatmap, image, share=0.5, steps=100) == pytest.approx([0.5] * 40, abs=0.02)


def test_sparsity_is_zero_if_the_mean_colour_has_the_score() -> None:
    assert needed(lit(25)[:, 0], lit(25), target=1) == [0]


def test_sparsity_equals_its_formula_by_plain_loops() -> None:
    model = unbiased_network()
    images, heatmap = torch.rand(6, 3, 16, 18), torch.rand(6, 16, 18)
    target = model(images).argmax(1).detach()
    result = sparsity(Explanation(images, target, heatmap, model=model), share=0.9, steps=7)
    assert len(result.unique()) > 2
    for n in range(6):
        order = heatmap[n].flatten().argsort(descending=True)

        def score(image: Tensor, wanted: Tensor = target[n]) -> float:
            with torch.no_grad():
                return model(image[None]).double().softmax(1)[0, wanted].item()

        for k in range(8):
            pixels = round((k / 7) ** 2 * 16 * 18)
            shown = torch.tensor([0.6, 0.3, 0.5])[:, None].repeat(1, 16 * 18)
            shown[:, order[:pixels]] = images[n].flatten(1)[:, order[:pixels]]
            if score(shown.view(3, 16, 18)) >= 0.9 * score(images[n]):
                break
        assert result[n].item() == pytest.approx(pixels / (16 * 18))


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_batch_size_changes_no_result(batch_size: int) -> None:
    images = torch.cat([lit(25), lit(60), lit(3)])
    assert needed(images[:, 1], images, batch_size=batch_size) == needed(images[:, 1], images)


def test_non_finite_heatmap_and_zero_score_are_nan() -> None:
    images = torch.cat([lit(25), lit(25), lit(0)])
    heatmap = images[:, 0].clone()
    heatmap[0, 3, 3] = torch.nan
    assert torch.tensor(needed(heatmap, images)).isnan().tolist() == [True, False, True]


def test_missing_or_invalid_arguments_are_named() -> None:
    image = lit(25)
    with pytest.raises(UserError, match="needs the model"):
        sparsity(Explanation(image, torch.zeros(1).long(), image[:, 0]))
    for settings in ({"share": 0}, {"share": 1.1}, {"steps": 0}):
        with pytest.raises(UserError, match="0 < share <= 1 and steps >= 1"):
            needed(image[:, 0], image, **settings)
