"""Kendall's tau of many rankings at once, over draws of families of explainers and of networks.

An interval over networks alone says nothing about other explainers: all networks rank the same ones, so a ranking that
agrees by chance agrees on all of them. So families are drawn too, each with all of its explainers, and the same ones on
every network.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evident.report.tables.rankings import LEAST

Floats = NDArray[np.float64]
DRAWS = 1000
SEED = 0


def pair_signs(values: Floats) -> Floats:
    """Return the signs (K, P) of the differences between all P pairs of explainers of rankings (K, M), NaN for gaps."""
    first, second = np.triu_indices(values.shape[1], 1)
    return np.sign(values[:, first] - values[:, second])


def taus(values: Floats, target: Floats, weights: Floats) -> Floats:
    """Return tau-b (B, K) of rankings (K, M) with a target (M,), for each of B sets of weights (B, M) of explainers.

    The same number as `rankings.tau`, as products of matrices: there are a thousand draws of all metrics and networks.
    Pairs with a gap are left out. NaN with fewer than three weighted explainers that have both scores, and where a
    ranking ties all of them.
    """
    signs, of_target = pair_signs(values), pair_signs(target[None])
    known = ~(np.isnan(signs) | np.isnan(of_target))
    signs, of_target = np.nan_to_num(signs), np.nan_to_num(of_target)
    first, second = np.triu_indices(values.shape[1], 1)
    pairs = weights[:, first] * weights[:, second]
    agreement = pairs @ (signs * of_target * known).T
    norm = np.sqrt((pairs @ (np.abs(signs) * known).T) * (pairs @ (np.abs(of_target) * known).T))
    methods = (weights > 0) @ (~(np.isnan(values) | np.isnan(target))).T.astype(float)
    with np.errstate(invalid="ignore"):
        return np.where((norm > 0) & (methods >= LEAST), agreement / norm, np.nan)


def tied(values: Floats, weights: Floats) -> Floats:
    """Return the share (K,) of the weighted pairs of explainers that each ranking (K, M) ties; weights (M,)."""
    signs = pair_signs(values)
    first, second = np.triu_indices(values.shape[1], 1)
    pairs, known = weights[first] * weights[second], ~np.isnan(signs)
    with np.errstate(invalid="ignore"):
        return (pairs * ((signs == 0) & known)).sum(1) / (pairs * known).sum(1)


def family_draws(families: Sequence[str], weights: Floats) -> Floats:
    """Return `weights` (M,) times how often the family of each explainer is drawn, (DRAWS, M)."""
    names, place = np.unique(np.asarray(families), return_inverse=True)
    random = np.random.default_rng(SEED)
    counts = random.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
    return counts[:, place] * weights


def network_draws(networks: int) -> Floats:
    """Return how often each network is drawn, (DRAWS, networks)."""
    random = np.random.default_rng(SEED + 1)
    return random.multinomial(networks, np.full(networks, 1 / networks), DRAWS).astype(float)


def mean_over_networks(found: Floats, counts: Floats) -> Floats:
    """Return the mean (B, K) over networks of taus (networks, B, K), each counted as often as drawn (B, networks).

    Networks without a value are left out.
    """
    known = ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        weighted = np.einsum("bs,sbk->bk", counts, np.nan_to_num(found))
        return weighted / np.einsum("bs,sbk->bk", counts, known.astype(float))


def interval(draws: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the 2.5 % and 97.5 % quantiles and the standard deviation (K,) of draws (B, K); NaN draws are left out."""
    low, high, deviation = (np.full(draws.shape[1], np.nan) for _ in range(3))
    there = (~np.isnan(draws)).sum(0) > DRAWS / 2
    if there.any():
        low[there], high[there] = np.nanquantile(draws[:, there], [0.025, 0.975], axis=0)
        deviation[there] = np.nanstd(draws[:, there], axis=0, ddof=1)
    return low, high, deviation
