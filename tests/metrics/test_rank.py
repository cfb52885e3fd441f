"""Kendall's tau-b and ranks: known answers, the formula by plain loops, and scipy."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, rankdata
from torch import Tensor

from evident.metrics.rank import average_ranks, gini_correlation, kendall

each_seed = pytest.mark.parametrize("seed", range(4))


def tau(first, second, weights=None) -> Tensor:
    first, second = torch.as_tensor(first), torch.as_tensor(second)
    return kendall(first, second, torch.ones(first.shape[-1]) if weights is None else torch.as_tensor(weights))


def rankings(seed: int, values: int | None = None, items: int = 30) -> tuple[Tensor, Tensor]:
    """Return two correlated rankings, with about `values` different values or without ties."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(items, generator=generator, dtype=torch.float64)
    second = first + torch.randn(items, generator=generator, dtype=torch.float64)
    return (first, second) if values is None else (first.mul(values / 4).round(), second.mul(values / 4).round())


# Known answers


@pytest.mark.parametrize("first", [[1.0, 2.0, 3.0], [3.0, -1.0, 2.0, 0.0, 9.0], [1.0, 1.0, 2.0], [4.0, 7.0]])
def test_tau_of_equal_rankings_is_one_and_of_reversed_rankings_minus_one(first):
    assert tau(first, first).item() == 1
    assert tau(first, [-value for value in first]).item() == -1


def test_tau_with_one_swap_of_four_items():
    assert tau([1, 2, 3, 4], [1, 2, 4, 3]).item() == pytest.approx(4 / 6)


def test_tie_in_one_ranking_reduces_tau():
    assert tau([1, 2, 3], [1, 1, 2]).item() == pytest.approx(2 / math.sqrt(3 * 2))


def test_weight_of_a_pair_is_the_product_of_its_weights():
    # The pairs in order have weights 2 * 3 and 2 * 5, the pair out of order 3 * 5.
    assert tau([1, 2, 3], [1, 3, 2], [2.0, 3.0, 5.0]).item() == pytest.approx((6 + 10 - 15) / 31)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64], ids=str)
def test_result_is_float64_for_any_dtype(dtype):
    result = tau(torch.tensor([1, 2, 3, 9], dtype=dtype), torch.tensor([4, 2, 8, 6], dtype=dtype))
    assert result.dtype == torch.float64
    assert result.item() == pytest.approx(kendalltau([1, 2, 3, 9], [4, 2, 8, 6]).statistic)


# Undefined results


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
    ids=["first constant", "second constant", "zero weights", "one weight", "only ties", "one item", "no items"],
)
def test_tau_is_nan_if_a_ranking_has_no_order(first, second, weights):
    assert tau(first, second, weights).isnan()


def test_nan_does_not_affect_other_rankings():
    result = tau([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [3.0, 2.0, 1.0]], [1.0, 2.0, 3.0])
    assert result.isnan().tolist() == [False, True, False]
    assert result[[0, 2]].tolist() == [1, -1]


# Weights


@each_seed
@pytest.mark.parametrize("values", [3, None])
def test_weights_zero_and_one_select_a_subset(seed, values):
    first, second = rankings(seed, values)
    counted = torch.rand(30, generator=torch.Generator().manual_seed(seed)) < 0.6
    theirs = kendalltau(first[counted], second[counted]).statistic
    assert tau(first, second, counted).item() == pytest.approx(theirs, abs=1e-12)


@each_seed
@pytest.mark.parametrize("values", [3, None])
def test_integer_weights_repeat_items(seed, values):
    first, second = rankings(seed, values)
    counts = torch.randint(0, 4, (30,), generator=torch.Generator().manual_seed(seed))
    theirs = kendalltau(first.repeat_interleave(counts), second.repeat_interleave(counts)).statistic
    assert tau(first, second, counts).item() == pytest.approx(theirs, abs=1e-12)


@each_seed
def test_scale_of_weights_has_no_effect(seed):
    first, second = rankings(seed, 5)
    weights = torch.rand(30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(tau(first, second, 8 * weights), tau(first, second, weights), rtol=1e-13, atol=0)


# Batches


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


def test_empty_batch_has_an_empty_result():
    assert kendall(torch.zeros(0, 3), torch.zeros(0, 3), torch.ones(3)).shape == (0,)


# Plain loops and scipy


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
def test_tau_equals_scipy(seed, values):
    first, second = rankings(seed, values)
    assert tau(first, second).item() == pytest.approx(kendalltau(first, second).statistic, abs=1e-12)


counted_pairs = st.lists(st.tuples(*[st.integers(-3, 3)] * 2, st.integers(0, 3)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(counted_pairs)
def test_tau_equals_scipy_with_ties_and_repeats(items):
    first, second, counts = (np.array(column) for column in zip(*items, strict=True))
    repeated = np.repeat(first, counts), np.repeat(second, counts)
    theirs = kendalltau(*repeated).statistic if counts.sum() > 1 else math.nan
    assert tau(first, second, counts).item() == pytest.approx(theirs, abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(counted_pairs)
def test_tau_is_symmetric_and_depends_on_the_order_only(items):
    first, second, counts = (torch.tensor(column) for column in zip(*items, strict=True))
    result = tau(first, second, counts)
    assert torch.equal(tau(second, first, counts).nan_to_num(9), result.nan_to_num(9))
    assert torch.equal(tau(first.double().exp(), second**3, counts).nan_to_num(9), result.nan_to_num(9))
    assert torch.equal(tau(-first, second, counts).nan_to_num(9), -result.nan_to_num(-9))


# Ranks


def test_equal_values_share_the_mean_of_their_ranks():
    assert average_ranks(torch.tensor([[5.0, 2, 5, 9, 5], [1, 1, 1, 1, 1]])).tolist() == [[3, 1, 3, 5, 3], [3] * 5]


@each_seed
@pytest.mark.parametrize("values", [3, None])
def test_ranks_are_those_of_scipy(seed, values):
    rows = torch.stack(rankings(seed, values))
    assert np.array_equal(average_ranks(rows).numpy(), rankdata(rows.numpy(), axis=1))


def test_rows_with_nan_have_no_ranks():
    assert average_ranks(torch.tensor([[1.0, math.nan], [1, 2]])).isnan().tolist() == [[True, True], [False, False]]


# Gini correlation


def test_order_of_the_amounts_finds_them_and_the_reverse_does_not():
    amounts = torch.tensor([[0.0, 0, 0, 10], [0, 0, 0, 10], [0, 0, 0, 10], [0, 0, 0, 10]])
    values = torch.tensor([[1.0, 2, 3, 4], [4, 3, 2, 1], [5, 5, 5, 5], [4, 1, 2, 3]])
    # Ranks of the amounts are 2, 2, 2, 4: cov(a, rank(a)) is 10 (4 - 2.5), of the last row 10 (3 - 2.5).
    assert gini_correlation(amounts, values).tolist() == pytest.approx([1, -1, 0, 1 / 3])


def test_order_among_negligible_amounts_does_not_count():
    amounts = torch.tensor([[0.0, 1e-9, 2e-9, 3e-9, 1]])
    for order in ([0.0, 1, 2, 3, 4], [3.0, 2, 1, 0, 4]):
        assert gini_correlation(amounts, torch.tensor([order])).item() == pytest.approx(1, abs=1e-6)


@each_seed
def test_gini_correlation_is_a_ratio_of_covariances(seed):
    draw = np.random.default_rng(seed)
    amounts, values = draw.standard_normal(30), draw.standard_normal(30).round(1)
    own, best = (np.cov(amounts, rankdata(ranked))[0, 1] for ranked in (values, amounts))
    found = gini_correlation(torch.from_numpy(amounts[None]), torch.from_numpy(values[None]))
    assert found.item() == pytest.approx(own / best, abs=1e-12)
    changed = gini_correlation(torch.from_numpy(3 * amounts[None] + 7), torch.from_numpy(np.exp(values[None])))
    assert changed.item() == pytest.approx(own / best, abs=1e-12)


def test_constant_amounts_and_undefined_values_have_no_gini_correlation():
    amounts, values = torch.tensor([[2.0, 2, 2], [1, 2, 3]]), torch.tensor([[1.0, 2, 3], [1, math.nan, 3]])
    assert gini_correlation(amounts, values).isnan().all()
