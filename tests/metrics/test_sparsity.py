"""The smallest sufficient share of pixels: known on a model that sums, and by plain loops on a real one."""

import pytest
import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.metrics.contract import Explanation
from evident.metrics.sparsity import sparsity
from evident.models.normalise import Normalise


class Brightness(nn.Module):
    """Class 0 has the image's mean as probability, class 1 the rest; the mean colour is black."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def forward(self, images: Tensor) -> Tensor:
        mean = images.double().mean((1, 2, 3))
        return torch.stack([mean, 1 - mean], 1).log()


def lit(pixels: int) -> Tensor:
    """An image (1, 3, 10, 10) of which the first pixels are white, the others black."""
    return (torch.arange(100) < pixels).float().view(1, 1, 10, 10).expand(1, 3, 10, 10)


def needed(heatmap: Tensor, images: Tensor, target: int = 0, **settings) -> list[float]:
    classes = torch.full((len(heatmap),), target)
    return sparsity(Explanation(images, classes, heatmap, model=Brightness()), **settings).tolist()


@pytest.mark.parametrize(("share", "pixels"), [(1.0, 25), (0.8, 20), (0.04, 1)])
def test_the_true_order_needs_no_more_than_the_bright_pixels(share: float, pixels: int) -> None:
    image = lit(25)
    # Steps of less than a pixel wherever a pixel decides.
    [found] = needed(image[:, 0], image, share=share, steps=200)
    assert found == pytest.approx(pixels / 100)


def test_the_inverted_order_needs_the_dark_pixels_first() -> None:
    image = lit(25)
    assert needed(-image[:, 0], image, share=1, steps=200) == pytest.approx([1])
    assert needed(-image[:, 0], image, share=0.04, steps=200) == pytest.approx([0.76], abs=0.02)


def test_a_random_order_needs_the_share_itself_on_average() -> None:
    image = torch.ones(1, 3, 10, 10).expand(40, -1, -1, -1) / 2
    heatmap = torch.rand(40, 10, 10, generator=torch.Generator().manual_seed(0))
    assert needed(heatmap, image, share=0.5, steps=100) == pytest.approx([0.5] * 40, abs=0.02)


def test_where_the_mean_colour_is_enough_nothing_is_needed() -> None:
    assert needed(lit(25)[:, 0], lit(25), target=1) == [0]


def small_network() -> nn.Module:
    """One to which the mean colour says nothing, and single pixels and colours something."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 3, stride=2, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    layers.append(nn.Linear(48, 6, bias=False))
    nn.init.normal_(layers[-1].weight)
    return nn.Sequential(Normalise((0.6, 0.3, 0.5)), *layers).eval()


def test_it_equals_its_formula_by_plain_loops() -> None:
    model = small_network()
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
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    images = torch.cat([lit(25), lit(60), lit(3)])
    assert needed(images[:, 1], images, batch_size=batch_size) == needed(images[:, 1], images)


def test_a_heatmap_that_is_not_finite_and_a_score_of_zero_are_undefined() -> None:
    images = torch.cat([lit(25), lit(25), lit(0)])
    heatmap = images[:, 0].clone()
    heatmap[0, 3, 3] = torch.nan
    assert torch.tensor(needed(heatmap, images)).isnan().tolist() == [True, False, True]


def test_what_is_missing_or_impossible_is_named() -> None:
    image = lit(25)
    with pytest.raises(UserError, match="needs the model"):
        sparsity(Explanation(image, torch.zeros(1).long(), image[:, 0]))
    for settings in ({"share": 0}, {"share": 1.1}, {"steps": 0}):
        with pytest.raises(UserError, match="0 < share <= 1 and steps from 1 on"):
            needed(image[:, 0], image, **settings)
