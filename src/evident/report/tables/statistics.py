"""Intervals and tests over images: the image is the unit of resampling."""

import functools

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import wilcoxon

RESAMPLES = 2000


def mean_interval(values: NDArray[np.float64], level: float = 0.95) -> NDArray[np.float64]:
    """Return mean and percentile bootstrap interval over images, (3, columns), of values (images, columns) with NaN.

    The same images are drawn for every column and on every call, so that tables are reproducible; a column without
    values gives NaN. It is `scipy.stats.bootstrap(method="percentile")` for many columns at once.
    """
    drawn = draws(len(values))
    defined = (~np.isnan(values)).astype(float)
    counts = drawn @ defined
    # A draw without any defined value has no mean; it is left out of the percentiles.
    with np.errstate(invalid="ignore"):
        means = drawn @ np.nan_to_num(values) / counts
        mean = np.nan_to_num(values).sum(0) / defined.sum(0)
    result = np.full((3, values.shape[1]), np.nan)
    there = defined.any(0)
    result[0] = mean
    result[1:, there] = np.nanquantile(means[:, there], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return result


@functools.cache
def draws(images: int) -> NDArray[np.float64]:
    """Return how often each image is drawn (RESAMPLES, images), as floats for a fast matrix product."""
    return np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), RESAMPLES).astype(float)


def paired_tests(scores: pd.DataFrame) -> pd.DataFrame:
    """Test every pair of columns of `scores` by Wilcoxon's signed-rank test, with Holm's correction.

    A row of `scores` is an (image, seed), a column an explainer. Two explainers are compared on the seeds that both
    have, where they explain the same network; the difference of an image is the mean over these seeds. Columns:
    explainer, other, difference (mean of explainer - other), n (images where both are defined), p, p_holm.
    """
    left, right = np.triu_indices(scores.shape[1], k=1)
    values = scores.to_numpy(float)
    differences = pd.DataFrame(values[:, left] - values[:, right], scores.index).groupby("image").mean().to_numpy()
    defined = ~np.isnan(differences)
    with np.errstate(invalid="ignore"):  # two explainers may have no image in common
        mean = np.nan_to_num(differences).sum(0) / defined.sum(0)
    names = {"explainer": scores.columns[left], "other": scores.columns[right]}
    tests = pd.DataFrame({**names, "difference": mean, "n": defined.sum(0), "p": _wilcoxon(differences)})
    tests["p_holm"] = holm(tests["p"].to_numpy())
    return tests


def _wilcoxon(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the p-value of Wilcoxon's signed-rank test of every column, which may have NaN.

    It is SciPy's, but SciPy is slow column by column, and one decision on the method for all columns would make a
    p-value depend on the other columns: so columns are tested together that have values for the same images, and that
    all have ties or zeros, or all have none.
    """
    p = np.ones(differences.shape[1])  # if all differences are zero, there is no evidence against equality
    alike: dict[tuple[bytes, bool], list[int]] = {}
    for column, values in enumerate(differences.T):
        sizes = np.abs(values[~np.isnan(values)])
        if sizes.any():
            simple = len(np.unique(sizes)) == len(sizes) and sizes.all()
            alike.setdefault((np.isnan(values).tobytes(), bool(simple)), []).append(column)
    for columns in alike.values():
        part = differences[:, columns]
        p[columns] = wilcoxon(part[~np.isnan(part[:, 0])]).pvalue
    return p


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Holm's adjusted p-values (Holm 1979): the i-th smallest of m times m - i + 1, made monotone, at most 1."""
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result
