"""The mu-lasso: a few features whose responses sum to the label of a class, solved exactly from the Gram matrix.

For every class j,  min_w ||X^T w - l_j||^2  subject to  w >= 0  and  sum(w) <= mu. The slack s = mu - sum(w) is the
weight of an additional feature that is zero on every image. It makes the feasible set a simplex: (w, s) >= 0 with sum
mu. Let G = X X^T and c = X l_j. At the optimum, the gradient g = c - G w equals a constant lambda on all features with
weight and is at most lambda on all others. As g is zero for the slack, lambda >= 0, and lambda = 0 if sum(w) < mu.
"""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

from evident.errors import UserError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

SLACK = 0
# A gain (g - lambda) below this share of the largest |c| counts as rounding error; observed errors are about 1e-15.
ROUNDING = 1e-12


class Rows(Protocol):
    """Give rows of a matrix on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, row: int, /) -> Floats: ...


def mu_lasso(gram: Floats | Rows, cross: Floats, mu: float) -> Floats:
    """Solve W (m, C) = argmin ||X^T W - L^T||_F^2 with W >= 0 and sum(w_j) <= mu for every class j, exactly.

    `gram` (m, m) is X X^T, or its rows on demand: only those of features that get weight on the way are asked for.
    `cross` (m, C) is X L^T, for responses X (m, N) and one-hot labels L (C, N). Raises `UserError` for shapes that do
    not fit, non-finite entries, a `mu` that is not positive and finite, and a class without images.
    Source: Oramas, Wang, Tuytelaars 2019, arXiv 1712.06302, who use SPAMS' `lasso(mode=0, pos=True)`.
    """
    check_mu(mu)
    _check(gram, cross)
    # The passive rows of G are kept together, so a gradient is one product, without gathering rows. All classes use the
    # same memory: new memory takes longer than the products.
    rows, found = np.zeros((32, len(cross) + 1)), []
    for column in cross.T:
        weights, rows = _weights(gram, column, mu, rows)
        found.append(weights)
    return np.stack(found, axis=1)


def check_mu(mu: float) -> None:
    """Raise `UserError` for a `mu` that is not positive and finite."""
    if not (math.isfinite(mu) and mu > 0):
        raise UserError(f"mu={mu} must be a positive finite number")


def _check(gram: Floats | Rows, cross: Floats) -> None:
    if cross.ndim != 2 or not cross.size or gram.shape != (len(cross), len(cross)):
        raise UserError(f"gram {gram.shape} and cross {cross.shape} do not fit; give (m, m) and (m, classes)")
    for name, values in (("gram", gram), ("cross", cross)):
        # A response that is not finite shows in `cross`, whatever its label.
        if isinstance(values, np.ndarray) and not _finite(values):
            raise UserError(f"{name} has entries that are not finite; check the responses")
    # Responses are non-negative and have norm one: only the zero label of a class without images is orthogonal to all.
    empty = np.flatnonzero(~cross.any(axis=0))
    if len(empty):
        raise UserError(f"no images of class {', '.join(map(str, empty))}; leave such classes out of cross")


def _finite(values: Floats) -> bool:
    """Return whether all entries are finite; a finite sum says so in a fifth of the time."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def _weights(gram: Floats | Rows, cross: Floats, mu: float, rows: Floats) -> tuple[Floats, Floats]:
    """Solve for the weights (m,) of one class by the active-set method of Lawson and Hanson 1974, chapter 23.

    Returns the weights and the memory `rows`, which has grown if the passive set needed more of it.

    The passive set, the features with weight, starts with the slack only. The feature with the largest gain joins it.
    Then the weights move to the optimum of the passive set; a feature whose weight reaches zero on the way leaves the
    set. Raises `UserError` if this does not terminate, which was observed only for a `gram` that is not X X^T.
    """
    cross = np.concatenate([[0.0], cross])
    rounding = ROUNDING * np.abs(cross).max()
    passive, weight = np.array([SLACK]), np.array([float(mu)])
    rows[0] = 0
    for _ in range(10 * len(cross)):
        gain = _gain(cross - weight @ rows[: len(passive)], passive, weight)
        others = gain.copy()
        others[passive] = 0
        if len(passive) == len(rows):
            rows = np.concatenate([rows, np.zeros_like(rows)])
        # Among equal gains `argmax` takes the first, the slack, so a feature that is zero everywhere never gets weight.
        while others[best := others.argmax()] > rounding:
            rows[len(passive), 1:] = 0 if best == SLACK else gram[int(best) - 1]
            joined = np.concatenate((passive, [best]))
            step = _step(rows[: len(joined), joined], gain[joined])
            if step[-1] > 0:
                break
            others[best] = 0
        else:
            weights = np.zeros_like(cross)
            weights[passive] = weight
            return weights[1:], rows
        passive, weight = joined, np.concatenate((weight, [0.0]))
        while (weight + step).min() <= 0:
            to_zero = np.divide(weight, -step, out=np.full_like(step, np.inf), where=weight + step <= 0)
            weight = weight + to_zero.min() * step
            weight[to_zero.argmin()] = 0
            kept = weight > 0
            passive, weight, rows[: kept.sum()] = passive[kept], weight[kept], rows[: len(kept)][kept]
            square = rows[: len(passive), passive]
            step = _step(square, _gain(cross[passive] - weight @ square, slice(None), weight))
        weight = weight + step
    raise UserError("gram is not X X^T of responses X: the solver does not terminate; check how gram was computed")


def _gain(gradient: Floats, passive: Indices | slice, weight: Floats) -> Floats:
    """Return the gradient minus lambda, the weighted mean of its entries over the passive features."""
    return gradient - gradient[passive] @ (weight / weight.sum())


def _step(gram: Floats, gain: Floats) -> Floats:
    """Return the step (k,) from the weights of k features to their optimum of equal sum; zero for dependent features.

    The step is d = argmax gain.d - d.G d / 2 with sum(d) = 0. As sum(d) = 0, G may be replaced by G + t 1 1^T for any
    t. This matrix is regular even with the slack, and with linearly dependent features, unless the coefficients of the
    dependency sum to zero.
    """
    diagonal = gram.diagonal()
    # t is the smallest positive entry: a larger t would lose digits of the smallest feature.
    t = diagonal.min(where=diagonal > 0, initial=diagonal.max())
    sides = np.ones((len(gain), 2), order="F")  # LAPACK's order
    sides[:, 0] = gain
    _, solution, failed = dposv(gram + t, sides, overwrite_b=True)
    if failed:
        return np.zeros_like(gain)
    unconstrained, shared = solution.T
    return unconstrained - unconstrained.sum() / shared.sum() * shared
