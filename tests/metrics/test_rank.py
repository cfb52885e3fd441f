"""Kendall's tau-b: answers known by hand, the formula by plain loops, and scipy's answers."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from torch import Tensor

from evident.metrics.rank import kendall

each_seed = pytest.mark.parametrize("seed", range(4))


def tau(first, second, weights=None) -> Tensor:
    first, second = torch.as_tensor(first), torch.as_tensor(second)
    return kendall(first, second, torch.ones(first.shape[-1]) if weights is None else torch.as_tensor(weights))


def rankings(seed: int, values: int | None = None, items: int = 30) -> tuple[Tensor, Tensor]:
    """Two rankings that agree somewhat, of `values` different values or of all different ones."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(items, generator=generator, dtype=torch.float64)
    second = first + torch.randn(items, generator=generator, dtype=torch.float64)
    return (first, second) if values is None else (first.mul(values / 4).round(), second.mul(values / 4).round())


# Known answers


@pytest.mark.parametrize("first", [[1.0, 2.0, 3.0], [3.0, -1.0, 2.0, 0.0, 9.0], [1.0, 1.0, 2.0], [4.0, 7.0]])
def test_a_ranking_agrees_exactly_with_itself_and_not_at_all_with_its_reverse(first):
    assert tau(first, first).item() == 1
    assert tau(first, [-value for value in first]).item() == -1


def test_one_neighbour_swap_of_four_items_costs_two_of_six_pairs():
    assert tau([1, 2, 3, 4], [1, 2, 4, 3]).item() == pytest.approx(4 / 6)


def test_a_tie_counts_in_the_ranking_that_orders_it_alone():
    assert tau([1, 2, 3], [1, 1, 2]).item() == pytest.approx(2 / math.sqrt(3 * 2))


def test_a_pair_counts_the_product_of_its_weights():
    # Pairs in order weigh 2 * 3 and 2 * 5, the one out of order 3 * 5.
    assert tau([1, 2, 3], [1, 3, 2], [2.0, 3.0, 5.0]).item() == pytest.approx((6 + 10 - 15) / 31)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64], ids=str)
def test_numbers_of_any_type_are_ranked_in_float64(dtype):
    result = tau(torch.tensor([1, 2, 3, 9], dtype=dtype), torch.tensor([4, 2, 8, 6], dtype=dtype))
    assert result.dtype == torch.float64
    assert result.item() == pytest.approx(kendalltau([1, 2, 3, 9], [4, 2, 8, 6]).statistic)


# Where there is nothing to rank


@pytest.mark.parametrize(
    ("first", "second", "weights"),
    [
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [1, 1, 1]),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1, 1, 1]),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0, 0, 0]),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0, 7, 0]),
        ([1.0, 1.0, 3.0], [1.0, 2.0, 3.0], [1, 1, 0]),
        ([5.0], [5.0], [1]),
        ([], [], []),
    ],
    ids=["first is constant", "second is constant", "none counts", "one counts", "ties alone count", "one", "none"],
)
def test_where_a_ranking_orders_nothing_it_is_undefined(first, second, weights):
    assert tau(first, second, weights).isnan()


def test_what_is_undefined_leaves_its_neighbours_alone():
    result = tau([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [3.0, 2.0, 1.0]], [1.0, 2.0, 3.0])
    assert result.isnan().tolist() == [False, True, False]
    assert result[[0, 2]].tolist() == [1, -1]


# Items that count more or less than once


@each_seed
@pytest.mark.parametrize("values", [3, None])
def test_items_counted_or_not_are_the_subset_that_counts(seed, values):
    first, second = rankings(seed, values)
    counted = torch.rand(30, generator=torch.Generator().manual_seed(seed)) < 0.6
    theirs = kendalltau(first[counted], second[counted]).statistic
    assert tau(first, second, counted).item() == pytest.approx(theirs, abs=1e-12)


@each_seed
@pytest.mark.parametrize("values", [3, None])
def test_items_that_count_twice_are_there_twice(seed, values):
    first, second = rankings(seed, values)
    counts = torch.randint(0, 4, (30,), generator=torch.Generator().manual_seed(seed))
    theirs = kendalltau(first.repeat_interleave(counts), second.repeat_interleave(counts)).statistic
    assert tau(first, second, counts).item() == pytest.approx(theirs, abs=1e-12)


@each_seed
def test_only_the_ratios_of_weights_matter(seed):
    first, second = rankings(seed, 5)
    weights = torch.rand(30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(tau(first, second, 8 * weights), tau(first, second, weights), rtol=1e-13, atol=0)


# Many at once


def test_rankings_and_weights_are_broadcast():
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(5, (2, 1, 9), generator=generator).double()
    second = torch.randint(5, (4, 9), generator=generator).double()
    weights = torch.randint(3, (3, 1, 1, 9), generator=generator)
    together = kendall(first, second, weights)
    assert together.shape == (3, 2, 4)
    for draw, one, other in np.ndindex(3, 2, 4):
        alone = kendall(first[one, 0], second[other], weights[draw, 0, 0])
        torch.testing.assert_close(together[draw, one, other], alone, rtol=1e-13, atol=0)


def test_no_rankings_give_no_answers():
    assert kendall(torch.zeros(0, 3), torch.zeros(0, 3), torch.ones(3)).shape == (0,)


# The formula a second time, slowly, and scipy's


def slow_tau(first: list[float], second: list[float], weights: list[float]) -> float:
    both = ordered_first = ordered_second = 0.0
    for i, j in combinations(range(len(first)), 2):
        s = (first[i] > first[j]) - (first[i] < first[j])
        t = (second[i] > second[j]) - (second[i] < second[j])
        both += weights[i] * weights[j] * s * t
        ordered_first += weights[i] * weights[j] * s**2
        ordered_second += weights[i] * weights[j] * t**2
    return both / math.sqrt(ordered_first * ordered_second)


@each_seed
@pytest.mark.parametrize("values", [3, 8, None])
def test_tau_equals_its_formula_by_plain_loops(seed, values):
    first, second = rankings(seed, values)
    weights = torch.rand(30, generator=torch.Generator().manual_seed(seed + 9), dtype=torch.float64)
    expected = slow_tau(first.tolist(), second.tolist(), weights.tolist())
    assert tau(first, second, weights).item() == pytest.approx(expected, abs=1e-12)


@each_seed
@pytest.mark.parametrize("values", [3, 8, None])
def test_tau_equals_scipys(seed, values):
    first, second = rankings(seed, values)
    assert tau(first, second).item() == pytest.approx(kendalltau(first, second).statistic, abs=1e-12)


counted_pairs = st.lists(st.tuples(*[st.integers(-3, 3)] * 2, st.integers(0, 3)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(counted_pairs)
def test_tau_equals_scipys_whatever_is_tied_or_repeated(items):
    first, second, counts = (np.array(column) for column in zip(*items, strict=True))
    repeated = np.repeat(first, counts), np.repeat(second, counts)
    theirs = kendalltau(*repeated).statistic if counts.sum() > 1 else math.nan
    assert tau(first, second, counts).item() == pytest.approx(theirs, abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(counted_pairs)
def test_tau_is_symmetric_and_follows_order_alone(items):
    first, second, counts = (torch.tensor(column) for column in zip(*items, strict=True))
    result = tau(first, second, counts)
    assert torch.equal(tau(second, first, counts).nan_to_num(9), result.nan_to_num(9))
    assert torch.equal(tau(first.double().exp(), second**3, counts).nan_to_num(9), result.nan_to_num(9))
    assert torch.equal(tau(-first, second, counts).nan_to_num(9), -result.nan_to_num(-9))
