"""Removal of attributes: known answers on a network that sums pixels, and tau-b by scipy."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn

from evident.errors import UserError
from evident.metrics.contract import Curve, Explanation, direction_of, image_scores
from evident.metrics.removal import removal, removal_map, stated_removal
from evident.values import Removals, Truth

nan = math.nan
TYPICAL = torch.tensor([[2.0, -1.0, -3.0, 0.0]])
NAMES = ["removal_network", "removal_faithful", "removal_true"]


class Sum(nn.Module):
    """Compute the sum of an image's pixels, and that sum times -2; keep the sizes of batches in `sizes`."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        return images.sum((1, 2, 3))[:, None] * self.weights


def filled(sums: Tensor) -> Tensor:
    """Return images (P, 3, 4, 4) that sum to `sums` (P,) without rounding."""
    return torch.nn.functional.pad(sums[:, None], (0, 47)).view(-1, 3, 4, 4)


def masks_of(visible: Tensor) -> Tensor:
    """Return masks (N, K, 4, 4) of visible attributes (N, K); attribute k is at pixel k."""
    return torch.eye(visible.shape[1], 16, dtype=torch.bool).view(-1, 4, 4) & visible[..., None, None]


def of(
    before: list[float],
    without: list[dict[int, tuple[float, float]]],
    sums: list[list[float]],
    target: list[int] | None = None,
    **fields: Any,
) -> Explanation:
    """Return an explanation of images that sum to `before` (N,); their maps have `sums` (N, K) over attributes.

    Without attribute k, image n sums to without[n][k][0], and its true score changes by without[n][k][1].
    """
    given = torch.tensor(sums)
    signed = torch.nn.functional.pad(given, (0, 16 - given.shape[1])).view(-1, 4, 4)
    visible = torch.tensor([[k in of_one for k in range(given.shape[1])] for of_one in without])
    row, attribute = visible.nonzero(as_tuple=True)
    changes = [without[n][k] for n, k in zip(row.tolist(), attribute.tolist(), strict=True)]
    after, change = torch.tensor(changes).view(-1, 2).unbind(1)
    # True contributions are not used: the true change is that of the removals.
    truth = Truth(masks_of(visible), torch.full_like(given, nan), torch.full_like(signed, nan), TYPICAL)
    known = {"signed": signed, "truth": truth, "removals": Removals(row, attribute, filled(after), change)}
    targets = torch.tensor(target or [0] * len(before))
    return Explanation(
        filled(torch.tensor(before)), targets, torch.zeros_like(signed), **{"model": Sum(), **known, **fields}
    )


def ranks(explanation: Explanation) -> list[list[float]]:
    """Return [network, faithful, true] of every image."""
    return torch.stack([image_scores(curve) for curve in removal(explanation).values()], 1).tolist()


# A scene sums to 10. Without attribute 0 (lake) it sums to 6 and its true score falls by 5. Without 1 (mast) or 2 (sky)
# its true score rises. Attribute 3 (road) is not visible.
CHANGES = {0: (6.0, -5.0), 1: (13.0, 2.0), 2: (9.0, 1.0)}


def scene(sums: list[float], **fields: Any) -> Explanation:
    return of([10.0], [CHANGES], [sums], **fields)


def scenes(seed: int, count: int = 6, attributes: int = 7) -> Explanation:
    """Return scenes with no attributes (first) to all attributes (last), for two targets; integers, so ranks tie."""
    generator = np.random.default_rng(seed)
    visible = generator.random((count, attributes)) < np.linspace(0, 1, count)[:, None]

    def numbers(*shape: int) -> list[Any]:
        return generator.integers(-4, 5, shape).astype(float).tolist()

    without = [{int(k): tuple(numbers(2)) for k in np.flatnonzero(shown)} for shown in visible]
    return of(numbers(count), without, numbers(count, attributes), [n % 2 for n in range(count)])


# Known answers


def test_curves_hold_the_changes_by_attribute():
    curves = removal(scene([4.0, -3.0, 1.0, 50.0]))
    assert list(curves) == NAMES
    expected = {"network": [-4, 3, -1, nan], "faithful": [-4, 3, -1, nan], "true": [-5, 2, 1, nan]}
    for name, values in expected.items():
        curve = curves[f"removal_{name}"]
        assert curve.at.tolist() == [0, 1, 2, 3]
        np.testing.assert_array_equal(curve.values, [values])


def test_explanation_that_predicts_the_network_scores_one():
    assert ranks(scene([4.0, -3.0, 1.0, 50.0])) == [[1, 1, 1]]


def test_explanation_of_opposite_sign_scores_minus_one():
    assert ranks(scene([-4.0, 3.0, -1.0, 0.0])) == [[1, -1, -1]]


def test_network_explanation_and_truth_are_compared_pairwise():
    # The three orders of the attributes are 1 2 3, 2 1 3 and 1 3 2.
    explanation = of([0.0], [{0: (1.0, 1.0), 1: (2.0, 3.0), 2: (3.0, 2.0)}], [[-2.0, -1.0, -3.0]])
    assert ranks(explanation) == [pytest.approx([1 / 3, 1 / 3, -1 / 3])]


def test_true_change_includes_what_the_attribute_hides():
    # Attribute 0 counts most for network and explanation, but hides something that counts more.
    assert ranks(of([10.0], [{0: (8.0, 3.0), 1: (9.0, -1.0)}], [[2.0, 1.0]])) == [[-1, 1, -1]]


@pytest.mark.parametrize(("sums", "expected"), [([4.0, -3.0, 1.0], 1), ([-8.0, 6.0, -2.0], -1), ([0.0] * 3, nan)])
def test_map_of_the_networks_effects_correlates_with_them(sums: list[float], expected: float):
    assert removal_map(scene(sums), cells=4).tolist() == pytest.approx([expected], nan_ok=True)


def test_map_is_compared_cell_by_cell():
    rng = np.random.default_rng(0)
    masks, signed = rng.random((1, 2, 12, 12)) < 0.4, rng.normal(size=(1, 12, 12))
    images = torch.nn.functional.pad(torch.tensor([10.0, 7.0, 12.0])[:, None], (0, 3 * 144 - 1)).view(-1, 3, 12, 12)
    given = torch.from_numpy(masks)
    explanation = Explanation(
        *(images[:1], torch.tensor([0]), torch.zeros(1, 12, 12)),
        model=Sum(),
        signed=torch.from_numpy(signed),
        truth=Truth(given, torch.zeros(1, 2), torch.zeros(1, 12, 12), TYPICAL[:, :2]),
        removals=Removals(torch.tensor([0, 0]), torch.tensor([0, 1]), images[1:], torch.zeros(2)),
    )
    # Without attribute 0 the score falls by 3, without attribute 1 it rises by 2.
    effects = 3 * masks[0, 0] / masks[0, 0].sum() - 2 * masks[0, 1] / masks[0, 1].sum()
    cells = [values.reshape(3, 4, 3, 4).mean((1, 3)).ravel() for values in (signed[0], effects)]
    found = removal_map(explanation, cells=3)
    assert found.tolist() == pytest.approx([np.corrcoef(*cells)[0, 1]])


def test_each_image_is_scored_for_its_own_target():
    explanation = of([10.0, 10.0], [CHANGES, CHANGES], [[4.0, -3.0, 1.0]] * 2, target=[0, 1])
    assert removal(explanation)["removal_network"].values.tolist() == [[-4, 3, -1], [8, -6, 2]]
    assert ranks(explanation) == [[1, 1, 1], [-1, -1, 1]]


def test_stated_and_typical_contributions_are_ranked_without_maps():
    explanation = scene([0.0] * 4, signed=None, contributions=torch.tensor([[-5.0, 2.0, -1.0, 9.0]]))
    curves = stated_removal(explanation)
    expected = {"stated_removal_faithful": [5, -2, 1, nan], "stated_removal_true": [-5, 2, 1, nan]}
    expected["typical_removal_true"] = [-2, 1, 3, nan]
    for name, values in expected.items():
        np.testing.assert_array_equal(curves[name].values, [values])
    found = [image_scores(curve).item() for curve in curves.values()]
    assert found == pytest.approx([-1, -1, 1 / 3])
    assert removal(replace(explanation, signed=-torch.ones(1, 4, 4))).keys().isdisjoint(curves)


def test_equal_map_and_stated_contributions_have_equal_scores():
    contributions = torch.tensor([[4.0, -3.0, 1.0, 0.0]])
    by_name = stated_removal(scene([0.0] * 4, contributions=contributions))
    by_map = removal(scene(contributions[0].tolist()))
    for name in ("removal_faithful", "removal_true"):
        np.testing.assert_array_equal(by_name[f"stated_{name}"].values, by_map[name].values)
        np.testing.assert_array_equal(image_scores(by_name[f"stated_{name}"]), image_scores(by_map[name]))


def test_contribution_of_a_map_is_its_sum_over_the_true_mask():
    masks = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    masks[0, 0, :2] = masks[0, 1, 1:3] = True
    truth = Truth(masks, torch.zeros(1, 2), torch.zeros(1, 4, 4), TYPICAL)
    fields = {"signed": torch.arange(16.0).view(1, 4, 4), "truth": truth}
    explanation = of([10.0], [{0: (9.0, -1.0), 1: (7.0, -3.0)}], [[0.0, 0.0]], **fields)
    assert removal(explanation)["removal_faithful"].values.tolist() == [[-sum(range(8)), -sum(range(4, 12))]]


def test_removal_network_has_no_direction():
    assert [direction_of(removal, name) for name in NAMES] == ["neither", "higher", "higher"]


# Plain loops and scipy


@pytest.mark.parametrize("seed", range(4))
def test_ranks_equal_scipy_image_by_image(seed):
    explanation = scenes(seed)
    curves = removal(explanation)
    network, predicted, true = (curves[name].values.numpy() for name in NAMES)
    compared = {"network": (network, true), "faithful": (predicted, network), "true": (predicted, true)}
    for name, pair in compared.items():
        theirs = [nan] * 6
        for image in range(6):
            visible = explanation.removals.attribute[explanation.removals.row == image]
            if len(visible) > 1:
                theirs[image] = kendalltau(*(values[image, visible] for values in pair)).statistic
        np.testing.assert_allclose(image_scores(curves[f"removal_{name}"]), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_changes_equal_those_of_one_image_at_a_time(seed):
    explanation = scenes(seed)
    curves, removals = removal(explanation), explanation.removals
    expected = np.full((3, 6, 7), nan)
    for n, k, without, change in zip(*removals, strict=True):
        both = explanation.model(torch.stack([explanation.images[n], without])).detach()
        given = explanation.signed[n][explanation.truth.attribute_masks[n, k]].sum()
        expected[:, n, k] = (both[1] - both[0])[explanation.target[n]], -given, change
    np.testing.assert_array_equal(torch.stack([curve.values for curve in curves.values()]), expected)


# Computation


def assert_same(first: dict[str, Curve], second: dict[str, Curve]) -> None:
    for name in NAMES:
        for a, b in [(first[name].values, second[name].values), (first[name].score, second[name].score)]:
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_batch_size_changes_no_result_and_bounds_the_batches_of_the_network(batch_size):
    explanation = scenes(0)
    together = removal(explanation)
    explanation.model.sizes.clear()
    assert_same(removal(explanation, batch_size=batch_size), together)
    assert max(explanation.model.sizes) <= batch_size
    assert sum(explanation.model.sizes) == 6 + len(explanation.removals.row)


def test_order_of_removals_has_no_effect():
    explanation = scenes(1)
    order = torch.randperm(len(explanation.removals.row), generator=torch.Generator().manual_seed(0))
    shuffled = Removals(*(rows[order] for rows in explanation.removals))
    assert_same(removal(replace(explanation, removals=shuffled)), removal(explanation))


@pytest.mark.parametrize("training", [True, False])
def test_network_is_unchanged_and_results_have_no_gradient(training):
    explanation = scenes(2)
    model = explanation.model.train(training)
    explanation.signed.requires_grad_()
    result = removal(explanation)
    assert model.training == training
    assert model.weights.requires_grad
    assert model.weights.grad is None
    assert model.weights.tolist() == [1, -2]
    assert not any(curve.values.requires_grad or curve.score.requires_grad for curve in result.values())


def test_scores_and_curves_are_float64():
    for curve in removal(scenes(0)).values():
        assert (curve.at.dtype, curve.values.dtype, curve.score.dtype) == (torch.float64,) * 3


# Undefined scores and errors


@pytest.mark.parametrize("without", [[{}], [{}, CHANGES, {}]], ids=["one image", "several images"])
def test_image_without_visible_attributes_is_nan_and_others_are_not(without):
    explanation = of([10.0] * len(without), without, [[4.0, -3.0, 1.0]] * len(without))
    for curve in removal(explanation).values():
        for row, changes in enumerate(without):
            assert curve.values[row].isnan().all() == (not changes)
            assert image_scores(curve)[row].isnan() == (not changes)


def test_single_visible_attribute_has_a_change_and_no_rank():
    for curve in removal(of([10.0], [{1: (7.0, -2.0)}], [[1.0, 2.0]])).values():
        assert curve.values.isnan().tolist() == [[True, False]]
        assert image_scores(curve).isnan().all()


def test_network_that_does_not_change_leaves_only_removal_true_defined():
    unmoved = ranks(of([10.0], [{0: (10.0, -5.0), 1: (10.0, 2.0)}], [[4.0, -3.0]]))
    np.testing.assert_array_equal(unmoved, [[nan, nan, 1]])


@pytest.mark.parametrize("value", [nan, math.inf])
def test_non_finite_map_is_nan_for_its_image_only(value):
    explanation = of([10.0, 10.0], [CHANGES, CHANGES], [[4.0, -3.0, 1.0]] * 2)
    explanation.signed[1, 3, 3] = value
    np.testing.assert_array_equal(ranks(explanation), [[1, 1, 1], [1, nan, nan]])


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("truth", "scenes of known truth"),
        ("removals", "scenes without each of their attributes"),
        ("model", "needs the network"),
        ("signed", "needs signed heatmaps"),
    ],
)
def test_missing_field_is_named(missing, message):
    with pytest.raises(UserError, match=message):
        removal(scene([1.0, 2.0, 3.0, 0.0], **{missing: None}))


def test_missing_stated_contributions_are_named():
    with pytest.raises(UserError, match="contributions by attribute"):
        stated_removal(scene([1.0, 2.0, 3.0, 0.0]))
