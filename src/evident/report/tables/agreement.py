"""Agreement between metrics on the ranking of explainers, and between explainers on the same images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from torch import Tensor

from evident.report.tables.rankings import NETWORK, means, tau_matrix, weights_of
from evident.report.tables.validity import Trial


def between_metrics(scores: pd.DataFrame, trial: Trial) -> tuple[pd.DataFrame, float]:
    """Return the mean tau over networks of every two metrics, and Krippendorff's alpha of all of them.

    `scores` are `oriented`. For alpha, metrics are the raters and explainers on a network the units; each metric's
    values are its ranks. Explainers and metrics with a gap are left out of alpha, metrics with many gaps first.
    """
    matrices, alphas = [], []
    for _, part in scores.groupby(NETWORK, sort=False):
        table = trial.competing(means(part))
        matrices.append(tau_matrix(table, weights_of(list(table.index), trial.families)))
        whole = table.loc[:, table.notna().mean() > 0.5].dropna()
        if len(whole) > 2 and whole.shape[1] > 1:
            alphas.append(alpha(whole.rank().to_numpy()))
    if not matrices:
        return pd.DataFrame(), np.nan
    names = list(dict.fromkeys(name for matrix in matrices for name in matrix))
    stacked = np.stack([matrix.reindex(index=names, columns=names).to_numpy() for matrix in matrices])
    known = ~np.isnan(stacked)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, stacked, 0).sum(0) / known.sum(0)
    return pd.DataFrame(mean, names, names), float(np.mean(alphas)) if alphas else np.nan


def alpha(values: ArrayLike) -> float:
    """Return Krippendorff's alpha for complete data (units, raters) with the squared difference as the distance.

    alpha = 1 - D_o / D_e: the mean variance within a unit over the variance of all values, both with n - 1; one for
    full agreement, zero for chance, negative below. NaN if all values are equal. Source: Krippendorff 2004, chapter 11.
    """
    table = np.asarray(values, float)
    expected = table.var(ddof=1)
    return float(1 - table.var(axis=1, ddof=1).mean() / expected) if expected else np.nan


def between_explainers(heatmaps: Mapping[str, list[Tensor]]) -> pd.DataFrame:
    """Return the mean over images of Spearman's correlation of the heatmaps of every two explainers.

    `heatmaps` (N, H, W) are those of one list of networks for each explainer, of the same images in the same order. An
    image for which one of the two maps is constant is left out of their mean.
    """
    names = list(heatmaps)
    ranks = [np.concatenate([_ranks(part) for part in heatmaps[name]]) for name in names]
    found = np.full((len(names), len(names)), np.nan)
    for row, first in enumerate(ranks):
        for column, second in enumerate(ranks[: row + 1]):
            both = np.einsum("np,np->n", first, second)
            varying = first.any(1) & second.any(1)
            found[row, column] = found[column, row] = both[varying].mean() if varying.any() else np.nan
    return pd.DataFrame(found, names, names)


def _ranks(heatmaps: Tensor) -> NDArray[np.float64]:
    """Return the ranks (N, HW) of the pixels, minus their mean and divided by their norm; zero for a constant map."""
    ranks = rankdata(heatmaps.flatten(1).numpy(), axis=1)
    centred = ranks - ranks.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
