"""Discrimination of two objects side by side and of two classes of one image: maps with known scores."""

import math

import pytest
import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.reference_rows import Oracle
from evident.metrics.contract import Explanation
from evident.metrics.discrimination import class_overlap, discrimination

NAMES = ("discrimination_mass", "discrimination_half", "discrimination_pointing")
nan = math.nan


def square(column: int) -> Tensor:
    """Return a mask (4, 12) of 2 x 2 pixels that starts at a column."""
    mask = torch.zeros(4, 12, dtype=torch.bool)
    mask[1:3, column : column + 2] = True
    return mask


LEFT, RIGHT, NONE = square(1), square(9), torch.zeros(4, 12, dtype=torch.bool)


def scores(heatmap: Tensor, mask: Tensor, other: Tensor) -> list[float]:
    images = torch.zeros(1, 3, 4, 12)
    result = discrimination(Explanation(images, torch.zeros(1).long(), heatmap[None], mask[None], other=other[None]))
    assert tuple(result) == NAMES
    assert all(score.dtype == torch.float64 for score in result.values())
    return [score.item() for score in result.values()]


@pytest.mark.parametrize(("own", "other"), [(LEFT, RIGHT), (RIGHT, LEFT)])
def test_own_object_scores_one_and_other_object_zero(own: Tensor, other: Tensor) -> None:
    assert scores(own.float(), own, other) == [1, 1, 1]
    assert scores(other.float(), own, other) == [0, 0, 0]


def test_map_that_does_not_depend_on_the_class_scores_one_half() -> None:
    assert scores(torch.ones(4, 12), LEFT, RIGHT) == [0.5, 0.5, 0.5]
    assert scores((LEFT | RIGHT).float(), RIGHT, LEFT) == [0.5, 0.5, 0.5]


def test_mass_counts_the_objects_and_half_counts_all_pixels() -> None:
    heatmap = torch.zeros(4, 12)
    heatmap[0, 0] = 2  # beside the own object
    heatmap[1, 1] = 3  # on it
    heatmap[2, 9] = 1  # on the other
    heatmap[3, 11] = 4  # beside the other
    heatmap[0, 5] = -7
    assert scores(heatmap, LEFT, RIGHT) == pytest.approx([3 / 4, 5 / 10, 0])
    assert scores(heatmap, RIGHT, LEFT) == pytest.approx([1 / 4, 5 / 10, 1])


def test_one_mask_is_enough_for_the_halves() -> None:
    assert scores(LEFT.float(), LEFT, NONE)[1:] == [1, 1]
    assert scores(LEFT.float(), NONE, LEFT)[1:] == [0, 0]
    assert math.isnan(scores(LEFT.float(), LEFT, NONE)[0])
    assert all(map(math.isnan, scores(LEFT.float(), NONE, NONE)))


def test_zero_denominators_and_non_finite_maps_are_nan() -> None:
    mass, half, pointing = scores(torch.zeros(4, 12), LEFT, RIGHT)
    assert math.isnan(mass)
    assert math.isnan(half)
    assert pointing == 0.5
    broken = torch.ones(4, 12)
    broken[0, 0] = nan
    assert all(map(math.isnan, scores(broken, LEFT, RIGHT)))
    off_objects = torch.zeros(4, 12)
    off_objects[0, 5] = 1
    mass, half, pointing = scores(off_objects, LEFT, RIGHT)
    assert math.isnan(mass)
    assert (half, pointing) == (1, 1)


def test_halves_are_found_for_each_image() -> None:
    heatmap = LEFT.float().expand(2, -1, -1)
    own, other = torch.stack([LEFT, RIGHT]), torch.stack([RIGHT, LEFT])
    result = discrimination(Explanation(torch.zeros(2, 3, 4, 12), torch.zeros(2).long(), heatmap, own, other=other))
    assert all(score.tolist() == [1, 0] for score in result.values())


# Two classes of one image


class Fixed(nn.Module):
    """Predict classes 2 and 0 for images whose first pixel is 1, and class 2 only for others."""

    def forward(self, images: Tensor) -> Tensor:
        both = images[:, 0, 0, :1].double()
        return torch.cat([0.3 * both, 0.1 * (1 - both), 1 - 0.3 * both - 0.1 * (1 - both)], 1).clamp(1e-3).log()


class PerClass(Attribution):
    """Return maps[j] for class j, and keep the explained classes in `targets`."""

    heatmap = staticmethod(lambda attribution: attribution.sum(1))

    def __init__(self, maps: Tensor) -> None:
        super().__init__(nn.Identity())
        self.maps = maps
        self.targets: list[int] = []

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        self.targets += target.tolist()
        return self.maps[target][:, None]


def overlap(maps: Tensor, target: list[int], both: bool = True, **settings) -> tuple[list[float], list[int]]:
    images = torch.full((len(target), 3, 2, 2), float(both))
    explainer, classes = PerClass(maps), torch.tensor(target)
    heatmap = explainer.heatmap(explainer.attribute(images, classes))
    explainer.targets.clear()
    explanation = Explanation(images, classes, heatmap, model=Fixed(), explainer=explainer)
    return class_overlap(explanation, **settings).tolist(), explainer.targets


def maps(first: list[float], third: list[float]) -> Tensor:
    return torch.tensor([first, [9.0, 9, 9, 9], third]).view(3, 2, 2)


@pytest.mark.parametrize("target", [0, 1, 2])
@pytest.mark.parametrize(
    ("first", "third", "shared"),
    [
        ([1, 2, 0, 0], [10, 20, 0, 0], 1),  # equal up to scale
        ([1, 0, 0, 0], [0, 0, 5, 0], 0),
        ([1, 1, 0, 0], [0, 1, 1, 0], 0.5),
        ([1, 1, -8, 0], [0, 1, 1, -3], 0.5),  # negative values do not count
        ([4, 0, 0, 0], [1, 1, 1, 1], 0.25),
    ],
)
def test_overlap_is_the_intersection_of_both_maps(
    target: int, first: list[float], third: list[float], shared: float
) -> None:
    [score], _ = overlap(maps(first, third), [target])
    assert score == pytest.approx(shared)


def test_target_is_not_explained_again() -> None:
    assert sorted(overlap(maps([1, 1, 0, 0], [0, 1, 1, 0]), [2, 0, 1])[1]) == [0, 0, 2, 2]


def test_unlikely_second_class_is_nan_and_not_explained() -> None:
    [score], targets = overlap(maps([1, 0, 0, 0], [1, 0, 0, 0]), [1], both=False, least=0.2)
    assert math.isnan(score)
    assert targets == []
    [score], _ = overlap(maps([1, 0, 0, 0], [1, 0, 0, 0]), [1], both=True, least=0.2)
    assert score == 1


def test_map_without_positive_values_is_nan() -> None:
    [score], _ = overlap(maps([0, 0, -1, 0], [1, 0, 0, 0]), [2])
    assert math.isnan(score)


def test_equal_maps_of_both_classes_overlap_completely() -> None:
    mask = torch.tensor([[[True, False], [False, False]]] * 2)
    oracle, images = Oracle(nn.Identity()), torch.ones(2, 3, 2, 2)
    explanation = Explanation(images, torch.tensor([1, 2]), mask.float(), mask, Fixed(), explainer=oracle)
    assert class_overlap(explanation).tolist() == [1, 1]


def test_missing_fields_are_named() -> None:
    explanation = Explanation(torch.ones(1, 3, 4, 12), torch.zeros(1).long(), torch.ones(1, 4, 12), LEFT[None])
    with pytest.raises(UserError, match="needs the masks of two classes"):
        discrimination(explanation)
    with pytest.raises(UserError, match="class_overlap explains two classes"):
        class_overlap(explanation)
