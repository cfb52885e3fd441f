"""Intervals and tests over networks, or over the images of a single network."""

import functools

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student
from scipy.stats import wilcoxon

RESAMPLES = 2000
ROUNDING = 1e-12  # smaller numbers are errors of summation


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


def estimate(values: pd.DataFrame) -> pd.DataFrame:
    """Return mean, ci_low, ci_high, se, networks and n of every column of `values`, whose rows are (network, image).

    Where several networks have scores, they are the sample: their means are averaged, and the 95 % interval is
    Student's over them, because images of one network share its peculiarities. The score of a single network gets the
    bootstrap interval over its images. `se` is the standard error of the same unit, `n` the number of images with a
    score, counted for each network.
    """
    of_networks = values.groupby("network", sort=False).mean()
    networks = of_networks.notna().sum().to_numpy()
    several = networks > 1
    found = pd.DataFrame({"networks": networks, "n": values.notna().sum().to_numpy()}, values.columns)
    mean, error = of_networks.mean().to_numpy(), of_networks.sem().to_numpy()
    half = student.ppf(0.975, np.maximum(networks - 1, 1)) * error
    found["mean"], found["ci_low"], found["ci_high"], found["se"] = mean, mean - half, mean + half, error
    of_one = values.loc[:, ~several].dropna(how="all")
    if len(of_one):
        found.loc[~several, ["mean", "ci_low", "ci_high"]] = mean_interval(of_one.to_numpy()).T
        found.loc[~several, "se"] = of_one.sem().to_numpy()
    return found


def paired_tests(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare every pair of columns of `scores`, with Holm's correction.

    A row of `scores` is a (network, image, seed), a column an explainer. Two explainers are compared on the rows that
    both have, by the mean over the seeds of a network. Columns: explainer, other, difference (mean of explainer -
    other), its ci_low, ci_high, se, networks and n (as `estimate`), p, p_holm. p is that of Student's test over the
    means of the networks, as the interval is; two explainers of a single network are compared over its images, by
    Wilcoxon's signed-rank test.
    """
    left, right = np.triu_indices(scores.shape[1], k=1)
    values = scores.to_numpy(float)
    differences = pd.DataFrame(values[:, left] - values[:, right], scores.index).groupby(["network", "image"]).mean()
    found = estimate(differences).rename(columns={"mean": "difference"})
    p = student_p(found["difference"].to_numpy(), found["se"].to_numpy(), found["networks"].to_numpy())
    single = (found["networks"] < 2).to_numpy()
    p[single] = _wilcoxon(differences.to_numpy()[:, single])
    names = pd.DataFrame({"explainer": scores.columns[left], "other": scores.columns[right]})
    columns = ["difference", "ci_low", "ci_high", "se", "networks", "n"]
    return pd.concat([names, found[columns]], axis=1).assign(p=p, p_holm=holm(p))


def student_p(value: ArrayLike, error: ArrayLike, units: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided p-value of Student's test that the mean of some units is zero, from its standard error.

    Units without spread agree, but they are no proof: p is that of the sign test, 2^(1 - units). It is 1 for a single
    unit, which shows nothing, and for a mean that differs from zero by rounding only.
    """
    value, error, units = np.asarray(value, float), np.asarray(error, float), np.asarray(units)
    value = np.where(np.abs(value) < ROUNDING, 0.0, value)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * student.sf(np.abs(value) / error, np.maximum(units - 1, 1))
    p = np.where(error < ROUNDING, 2.0 ** (1 - units), p)
    return np.where((units < 2) | (value == 0), 1.0, p)


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
