"""Importance of parts: known answers on a network that weighs pixels, and the formulas by plain loops."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, rankdata
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.data.an8flower import an8flower
from evident.data.render.flower_parts import CHANGES
from evident.errors import UserError
from evident.metrics.contract import Explanation
from evident.metrics.part_importance import importance_of, part_importance
from evident.values import PartChanges

nan = math.nan
SIDE = 4
QUARTERS = torch.arange(16).view(4, 4) // 8 * 2 + torch.arange(4) // 2  # four parts of four pixels


class Weighted(nn.Module):
    """Add up pixels with a weight for each quarter of the image; the second class has the score zero."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([*weights])[QUARTERS])
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        score = (images[:, 0] * self.weights).sum((1, 2))
        return torch.stack([score, torch.zeros_like(score)], 1)


class Predicted(Weighted, Regressor):
    """Predict the first score as a number."""

    def regression_names(self) -> tuple[str, ...]:
        return ("score",)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, :1]


def masks_of(parts: int) -> Tensor:
    """Return the masks (1, parts, 4, 4) of the quarters, as many as there are parts; further parts have no pixels."""
    return (torch.arange(parts)[:, None, None] == QUARTERS)[None]


def scene(model: nn.Module, changes: list[tuple[int, float]], heat: list[float], parts: int = 4) -> Explanation:
    """Return a black scene; changes (part, brightness) light up one quarter, or all of them for part 4."""
    images = torch.zeros(len(changes), 3, SIDE, SIDE)
    for image, (part, brightness) in zip(images, changes, strict=True):
        image[:, (part == QUARTERS) | (part == 4)] = brightness
    part_of = torch.tensor([part for part, _ in changes])
    given = PartChanges(torch.zeros_like(part_of), part_of, images, masks_of(parts))
    heatmap = (torch.tensor(heat) / 4)[QUARTERS][None]
    return Explanation(torch.zeros(1, 3, SIDE, SIDE), torch.tensor([0]), heatmap, model=model, parts=given)


EACH = [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0)]


def scores(explanation: Explanation) -> list[float]:
    """Return [rank, mass, light] of a single image."""
    found = part_importance(explanation)
    return [found[f"part_{name}"].item() for name in ("rank", "mass", "light")]


def density(explanation: Explanation) -> float:
    return part_importance(explanation)["part_density"].item()


# Known answers


def test_heatmap_whose_mass_is_the_importance_scores_one():
    # Part k changes the score by 4 w_k: by 16, 8, 4 and 0.
    assert scores(scene(Weighted(4.0, 2.0, 1.0, 0.0), EACH, [0.4, 0.2, 0.1, 0.0])) == pytest.approx([1, 1, 0])


def test_importance_is_the_mean_size_of_the_change():
    given = scene(Weighted(1.0, -1.0, 0.0, 0.0), [(0, 1.0), (0, 0.5), (1, 1.0)], [1, 1, 1, 1])
    found = importance_of(given.model, given.images, given.target, given.parts)
    assert found.tolist() == pytest.approx(np.array([[3, 4, 0, 0]]))


def test_order_of_the_pixels_finds_the_importance_whatever_the_values():
    for heat, expected in (([0.4, 0.2, 0.1, 0], 1), ([9, 8, 7, 6], 1), ([0, 1, 2, 4], -1), ([1, 1, 1, 1], 0)):
        found = part_importance(scene(Weighted(4.0, 2.0, 1.0, 0.0), EACH, heat))["part_order"]
        assert found.tolist() == [pytest.approx(expected)]


def test_heatmap_in_reverse_order_has_rank_minus_one():
    rank, mass, _ = scores(scene(Weighted(4.0, 2.0, 1.0, 0.0), EACH, [0, 1, 2, 4]))
    assert rank == -1
    assert mass == pytest.approx((0 + 1 + 1 + 0) / 7)


def test_overlap_is_the_common_share():
    # Importance 1/2, 1/2; mass 3/4, 1/4.
    _, mass, _ = scores(scene(Weighted(1.0, 1.0, 0.0, 0.0), EACH, [3, 1, 0, 0]))
    assert mass == pytest.approx(0.75)


def test_mass_outside_of_all_parts_counts_for_none():
    given = scene(Weighted(1.0, 1.0, 5.0, 5.0), EACH[:2], [1, 1, 2, 0], parts=2)
    assert scores(given) == [pytest.approx(nan, nan_ok=True), pytest.approx(0.5), 0]


def large_background(heat: list[float]) -> Explanation:
    """Return a scene of two parts: 12 pixels change the score by 12, the other 4 by 8; `heat` is that of each pixel."""
    given = scene(Weighted(1.0, 1.0, 1.0, 2.0), [(4, 1.0), (3, 1.0)], [0, 0, 0, 0], parts=2)
    images = torch.zeros(2, 3, SIDE, SIDE)
    images[0, :, QUARTERS < 3], images[1, :, QUARTERS == 3] = 1, 1
    masks = torch.stack([QUARTERS < 3, QUARTERS == 3])[None]
    parts = PartChanges(torch.tensor([0, 0]), torch.tensor([0, 1]), images, masks)
    return replace(given, heatmap=torch.where(masks[:, 0], heat[0], heat[1]), parts=parts)


def test_density_does_not_count_the_size_of_a_part():
    # The large part counts more as a whole, the small part more for each pixel.
    assert (scores(large_background([1.0, 2.0]))[0], density(large_background([1.0, 2.0]))) == (1, 1)
    assert (scores(large_background([2.0, 1.0]))[0], density(large_background([2.0, 1.0]))) == (1, -1)
    assert (scores(large_background([1.0, 4.0]))[0], density(large_background([1.0, 4.0]))) == (-1, 1)


@pytest.mark.parametrize("value", [1.0, 0.1, 1 / 3])
def test_constant_heatmap_ranks_parts_by_size_and_has_no_density(value: float):
    assert scores(large_background([value, value]))[0] == 1
    assert math.isnan(density(large_background([value, value])))


def test_light_has_a_share_but_no_rank():
    # The light changes all quarters: the score by 4, the parts by 2, 1, 1 and 0 times 4.
    given = scene(Weighted(2.0, 1.0, 1.0, 0.0), [*EACH, (4, 0.25)], [0.5, 0.25, 0.25, 0], parts=5)
    assert scores(given) == pytest.approx([1, 1, 4 / 20])


def test_hidden_part_is_not_ranked():
    given = scene(Weighted(3.0, 2.0, 1.0, 0.0), EACH[:3], [3, 2, 1, 9])
    assert given.parts is not None
    masks = given.parts.masks.clone()
    masks[:, 3] = False
    rank, mass, _ = scores(replace(given, parts=given.parts._replace(masks=masks)))
    assert rank == 1
    assert mass == pytest.approx(6 / 15)


def test_negative_heat_is_no_mass():
    given = scene(Weighted(2.0, 1.0, 0.0, 0.0), EACH, [2, 1, -5, 0])
    assert scores(given)[1] == pytest.approx(1)


def test_change_of_all_scores_alike_is_no_importance():
    class Alike(Weighted):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[:, :1].expand(-1, 3)

    found = scores(scene(Alike(1.0, 2.0, 3.0, 4.0), EACH, [1, 2, 3, 4]))
    assert found == pytest.approx([nan] * 3, nan_ok=True)


def test_certain_network_has_finite_importance():
    given = scene(Weighted(4000.0, 2000.0, 1000.0, 0.0), EACH, [0.4, 0.2, 0.1, 0.0])
    assert scores(given) == pytest.approx([1, 1, 0])


def test_regression_is_compared_by_its_output():
    assert scores(scene(Predicted(4.0, 2.0, 1.0, 0.0), EACH, [0.4, 0.2, 0.1, 0.0])) == pytest.approx([1, 1, 0])


@pytest.mark.parametrize("heat", [[0, 0, 0, 0], [-1, -1, -1, -1], [nan, 1, 2, 3]])
def test_heatmap_without_positive_mass_has_no_score(heat: list[float]):
    rank, mass, light = scores(scene(Weighted(4.0, 2.0, 1.0, 0.0), EACH, heat))
    assert math.isnan(rank)
    assert math.isnan(mass)
    assert light == 0


# The formulas


def by_loops(explanation: Explanation) -> np.ndarray:
    """Return rank, density, mass, order and light of every image (N, 5), by plain loops."""
    model, parts = explanation.model, explanation.parts
    assert model is not None

    def log_odds(image: Tensor, target: int) -> float:
        p = model(image[None]).detach().double().softmax(1)[0]
        return math.log(p[target]) - math.log(sum(p[c] for c in range(len(p)) if c != target))

    rows = []
    for n, (image, target) in enumerate(zip(explanation.images, explanation.target.tolist(), strict=True)):
        importance, mass, pixels = [], [], []
        heat = explanation.heatmap[n].double().numpy().clip(0)
        for k in range(parts.masks.shape[1]):
            own = parts.images[(parts.row == n) & (parts.part == k)]
            changes = [abs(log_odds(other, target) - log_odds(image, target)) for other in own]
            importance.append(np.mean(changes) if changes else 0.0)
            mask = parts.masks[n, k].numpy()
            mass.append(heat[mask].sum() / heat.sum())
            pixels.append(mask.sum())
        i, m, size = np.array(importance), np.array(mass), np.array(pixels)
        v = size > 0
        overlap = np.minimum(i[v] / i[v].sum(), m[v]).sum()
        ranks = [kendalltau(i[v], m[v]).statistic, kendalltau(i[v] / size[v], m[v] / size[v]).statistic]
        shown = [i[k] / size[k] * parts.masks[n, k].numpy() for k in np.flatnonzero(v)]
        amounts, given = np.sum(shown, axis=0).ravel(), explanation.heatmap[n].double().numpy().ravel()
        own, best = (np.cov(amounts, rankdata(ranked))[0, 1] for ranked in (given, amounts))
        rows.append([*ranks, overlap, own / best, i[~v].sum() / i.sum()])
    return np.array(rows)


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_the_formulas(seed: int):
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)).double()
    row, part = (torch.rand(5, 6, generator=generator) < 0.8).nonzero(as_tuple=True)
    row, part = row.repeat(3), part.repeat(3)
    # Of different sizes, and the sixth part has no pixels.
    number = (torch.rand(5, 8, 8, generator=generator) ** 2 * 5).long()
    masks = number[:, None] == torch.arange(6)[:, None, None]
    images = torch.rand(5 + len(row), 3, 8, 8, generator=generator, dtype=torch.float64)
    heatmap = torch.randn(5, 8, 8, generator=generator)
    given = Explanation(
        images[:5],
        torch.randint(4, (5,), generator=generator),
        heatmap,
        model=network,
        parts=PartChanges(row, part, images[5:], masks),
    )
    found = torch.stack(list(part_importance(given).values()), 1)
    np.testing.assert_allclose(found, by_loops(given), rtol=1e-9)


def test_each_image_passes_the_network_once():
    given = scene(Weighted(4.0, 2.0, 1.0, 0.0), EACH, [1, 1, 1, 1])
    part_importance(given, batch_size=3)
    assert given.model.sizes == [1, 3, 1]


# Rendered flowers


class PetalColour(nn.Module):
    """Compute two scores from the mean colour of the pixels inside the given masks."""

    def __init__(self, masks: Tensor) -> None:
        super().__init__()
        self.masks = masks

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.masks[:, None]).sum((2, 3))[:, :2] / 20


def test_network_that_sees_petals_only_uses_petals_and_light(tmp_path: Path) -> None:
    flowers: Any = an8flower("single-6c", 1, 1, 2, 0, "rendered", 80, root=tmp_path, store=tmp_path).test
    for index in range(2):
        parts = flowers.changed_parts(torch.tensor([index]), draws=2)
        images = flowers[index]["image"][None]
        heatmap = flowers.masks[index][None].float()
        # Pixels at the border show other parts, too.
        inner = -nn.functional.max_pool2d(-heatmap[:, None], 3, 1, 1)[:, 0]
        network, target = PetalColour(inner), torch.tensor([0])
        importance = importance_of(network, images, target, parts)[0]
        assert [list(CHANGES)[part] for part in importance.nonzero()[:, 0]] == ["petals", "light"]
        rank, mass, light = scores(Explanation(images, target, heatmap, model=network, parts=parts))
        assert rank == 1
        assert mass > 0.95
        assert 0 < light < 1


# Errors


@pytest.mark.parametrize("missing", ["model", "parts"])
def test_missing_model_or_parts_is_an_error(missing: str):
    given, lacking = scene(Weighted(1.0, 1.0, 1.0, 1.0), EACH, [1, 1, 1, 1]), dict[str, Any]({missing: None})
    with pytest.raises(UserError, match="needs the network and scenes with changed parts"):
        part_importance(replace(given, **lacking))
