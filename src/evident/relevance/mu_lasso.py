"""The mu-lasso: the few features whose responses sum up to the label of a class, solved exactly from the Gram matrix.

For every class j,  min_w ||X^T w - l_j||^2  subject to  w >= 0  and  sum(w) <= mu. The slack s = mu - sum(w) is the
weight of one more feature, zero on every image, and makes the set a simplex: (w, s) >= 0 of sum mu. With G = X X^T and
c = X l_j, the optimum shows in the gradient g = c - G w: it equals one lambda on all features with weight and exceeds
it nowhere. As g is zero for the slack, lambda >= 0, and lambda = 0 where mu does not bind.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

from evident.errors import UserError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

SLACK = 0
# Of the largest |c|: a gain (g - lambda) below it is rounding, which was seen to be some 1e-15.
ROUNDING = 1e-12


def mu_lasso(gram: Floats, cross: Floats, mu: float) -> Floats:
    """Weights W (m, C) = argmin ||X^T W - L^T||_F^2 with W >= 0 and sum(w_j) <= mu for every class j, exactly.

    `gram` (m, m) is X X^T and `cross` (m, C) is X L^T, for responses X (m, N) and one-hot labels L (C, N). Raises
    `UserError` for shapes that do not fit, entries that are not finite, a mu that is not positive and finite, and
    a class without images.
    Source: PAPERS 1.2; Oramas, Wang, Tuytelaars 2019, arXiv 1712.06302; SPAMS' `lasso(mode=0, pos=True)` is its solver.
    """
    check_mu(mu)
    _check(gram, cross)
    return np.stack([_weights(gram, column, mu) for column in cross.T], axis=1)


def check_mu(mu: float) -> None:
    """Raise `UserError` for a bound that is not positive and finite."""
    if not (math.isfinite(mu) and mu > 0):
        raise UserError(f"mu={mu} bounds no sum of weights; give a positive finite number")


def _check(gram: Floats, cross: Floats) -> None:
    if cross.ndim != 2 or not cross.size or gram.shape != (len(cross), len(cross)):
        raise UserError(f"gram {gram.shape} and cross {cross.shape} do not fit; give (m, m) and (m, classes)")
    for name, values in (("gram", gram), ("cross", cross)):
        if not np.isfinite(values).all():
            raise UserError(f"{name} has entries that are not finite; look for them in the responses")
    # Responses are non-negative and have norm one: only the label of no image is orthogonal to them all.
    empty = np.flatnonzero(~cross.any(axis=0))
    if len(empty):
        raise UserError(f"no images of class {', '.join(map(str, empty))}; leave such classes out of cross")


def _weights(gram: Floats, cross: Floats, mu: float) -> Floats:
    """Weights (m,) of one class, by the active sets of Lawson and Hanson 1974, chapter 23, on the simplex.

    The passive features, those with weight, begin as the slack alone. The feature of the largest gain joins them;
    then they move to their common optimum, and a feature whose weight falls to zero on the way leaves them. Raises
    `UserError` where that does not end, which only a `gram` that is no X X^T was seen to do.
    """
    cross = np.concatenate([[0.0], cross])
    rounding = ROUNDING * np.abs(cross).max()
    passive, weight = np.array([SLACK]), np.array([float(mu)])
    # The passive rows of G lie together, so that a gradient is one product and gathers nothing.
    rows = np.zeros((32, len(cross)))
    for _ in range(10 * len(cross)):
        gain = _gain(cross - weight @ rows[: len(passive)], passive, weight)
        others = gain.copy()
        others[passive] = 0
        if len(passive) == len(rows):
            rows = np.concatenate([rows, np.zeros_like(rows)])
        # Of equal gains the first, the slack's: a feature that is zero everywhere never stands in for it.
        while others[best := others.argmax()] > rounding:
            rows[len(passive), 1:] = 0 if best == SLACK else gram[best - 1]
            joined = np.append(passive, best)
            step = _step(rows[: len(joined), joined], gain[joined])
            if step[-1] > 0:
                break
            others[best] = 0
        else:
            weights = np.zeros_like(cross)
            weights[passive] = weight
            return weights[1:]
        passive, weight = joined, np.append(weight, 0.0)
        while (weight + step).min() <= 0:
            to_zero = np.divide(weight, -step, out=np.full_like(step, np.inf), where=weight + step <= 0)
            weight = weight + to_zero.min() * step
            weight[to_zero.argmin()] = 0
            kept = weight > 0
            passive, weight, rows[: kept.sum()] = passive[kept], weight[kept], rows[: len(kept)][kept]
            square = rows[: len(passive), passive]
            step = _step(square, _gain(cross[passive] - weight @ square, slice(None), weight))
        weight = weight + step
    raise UserError("gram is no X X^T of responses X: the search for weights does not end")


def _gain(gradient: Floats, passive: Indices | slice, weight: Floats) -> Floats:
    """How far each entry of the gradient exceeds lambda, the weighted mean of the passive features' entries."""
    return gradient - gradient[passive] @ (weight / weight.sum())


def _step(gram: Floats, gain: Floats) -> Floats:
    """The step (k,) from the weights of k features to their optimum of the same sum; zero if they are dependent.

    That is d = argmax gain.d - d.G d / 2 with sum(d) = 0, on which G and G + t 1 1^T are one for every t. The latter
    is regular with the slack too, and with features that depend on each other but make their responses at unlike sums.
    """
    diagonal = gram.diagonal()
    # Of the smallest feature's size, lest it drown.
    t = diagonal.min(where=diagonal > 0, initial=diagonal.max())
    _, solution, failed = dposv(gram + t, np.stack([gain, np.ones_like(gain)], axis=1))
    if failed:
        return np.zeros_like(gain)
    unbound, common = solution.T
    return unbound - unbound.sum() / common.sum() * common
