"""The true scenicness of a landscape: the contribution of each attribute, and simulated votes.

With M_k the mask of attribute k (H x W, the visible pixels) and T_k >= 0 a template over positions with mean one,

    seen_k   = <T_k, M_k> / (H W)                   the share of the image, weighted by position
    score    = BASE + sum_k w_k seen_k              contribution of k: w_k seen_k
    map_k    = w_k T_k M_k / (H W)                  the contribution by pixel; its sum is the contribution
    variance = SPREAD + sum_k c_k seen_k            people disagree more about some attributes than others, c_k >= 0

so both are linear in the masks, as in SIAM (Marcos et al., 2019), and contributions and maps are exact. Wires lower the
score more in the sky than near the ground (T = 2 (1 - v), v from 0 at the top to 1 at the bottom), water raises it more
in the foreground (T = 2 v), a temple counts most in the middle (T = 6 u (1 - u)), and trees count equally everywhere
(T = 1). Wood and glass do not count.

Votes: each of n raters, from a pool whose biases are B ~ N(0, BIAS), votes round(clip(score + B + e, 1, 10)) with
e ~ N(0, variance - BIAS). Because votes are clipped, rounded and few, average and population variance of the votes on
an image are expected to differ from score and variance: `expected`. Each of three annotators independently reports
attribute k with probability SLIP + (1 - 2 SLIP) a^2 / (a^2 + (typical_k / 5)^2), where a is the visible share of the
image.
We chose the numbers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from evident.data.render.landscape.attributes import ATTRIBUTES
from evident.data.render.landscape.noise import stream

Doubles = NDArray[np.float64]


class Taste(NamedTuple):
    """Hold an attribute's effect on the score and on the variance of votes if it covers the share `typical`."""

    score: float
    variance: float
    typical: float
    place: str


TASTES = {
    "trees": Taste(0.3, 0.0, 0.13, "even"),
    "grass": Taste(0.15, 0.0, 0.28, "bottom"),
    "flowers": Taste(0.3, 0.1, 0.1, "bottom"),
    "ocean": Taste(0.5, 0.2, 0.13, "even"),
    "running_water": Taste(0.35, 0.0, 0.05, "bottom"),
    "still_water": Taste(0.6, 0.0, 0.05, "bottom"),
    "road": Taste(-0.35, 0.0, 0.08, "bottom"),
    "railroad": Taste(-0.45, 0.3, 0.07, "bottom"),
    "fencing_railing": Taste(-0.25, 0.0, 0.022, "middle"),
    "wire": Taste(-0.5, 0.0, 0.02, "top"),
    "transport": Taste(-0.3, 0.2, 0.025, "middle"),
    "wood": Taste(0.0, 0.0, 0.03, "even"),
    "ice_snow": Taste(0.5, 0.0, 0.05, "top"),
    "brick": Taste(-0.4, 0.5, 0.09, "even"),
    "shingles": Taste(-0.2, 0.0, 0.05, "even"),
    "metal": Taste(-0.2, 0.0, 0.024, "even"),
    "cloth": Taste(-0.15, 0.3, 0.05, "bottom"),
    "sand": Taste(0.2, 0.2, 0.18, "bottom"),
    "rock_stone": Taste(0.2, 0.0, 0.08, "even"),
    "glass": Taste(0.0, 0.0, 0.014, "even"),
    "rusty": Taste(-0.25, 0.0, 0.017, "even"),
    "dry": Taste(-0.25, 0.6, 0.34, "even"),
    "rugged_scene": Taste(0.45, 0.0, 0.1, "top"),
    "cluttered_space": Taste(-0.45, 0.0, 0.05, "middle"),
    "clouds": Taste(0.2, 0.1, 0.14, "top"),
    "horizon": Taste(0.2, 0.0, 0.022, "even"),
    "temple": Taste(0.5, 0.9, 0.07, "middle"),
    "farming": Taste(0.1, 0.4, 0.07, "bottom"),
    "hiking": Taste(0.15, 0.5, 0.01, "bottom"),
}
BASE, SPREAD, BIAS = 4.8, 0.6, 0.4  # points, squared points, squared points
RATERS, SLIP = 400, 0.01
TYPICAL = np.array([TASTES[name].typical for name in ATTRIBUTES])
WORTH = np.array([TASTES[name].score for name in ATTRIBUTES])  # (K,): points for the typical share of the image
WEIGHTS = WORTH / TYPICAL  # w (K,): points for a whole image of the attribute
DISAGREEMENT = np.array([TASTES[name].variance for name in ATTRIBUTES]) / TYPICAL  # c (K,)


class Votes(NamedTuple):
    """Hold votes int8 (N, most), padded with 0, and their average and population variance (N,)."""

    votes: NDArray[np.int8]
    average: Doubles
    variance: Doubles


def templates(height: int, width: int) -> Doubles:
    """Return T (K, H, W): the weight of each position, non-negative, with mean one over rows and columns."""
    v = ((np.arange(height) + 0.5) / height)[:, None] + np.zeros(width)
    u = ((np.arange(width) + 0.5) / width) + np.zeros((height, 1))
    across = u * (1 - u)
    by_place = {"even": np.ones_like(v), "top": 2 * (1 - v), "bottom": 2 * v, "middle": across / across.mean()}
    return np.stack([by_place[TASTES[name].place] for name in ATTRIBUTES])


def seen(masks: NDArray[np.bool_]) -> Doubles:
    """Return <T_k, M_k> / (H W) (..., K) of masks (..., K, H, W)."""
    return (templates(*masks.shape[-2:]) * masks).mean((-2, -1))


def contributions(seen_: Doubles) -> Doubles:
    """Return w_k seen_k (..., K); together with BASE they sum to the score."""
    return WEIGHTS * seen_


def contribution_maps(masks: NDArray[np.bool_]) -> Doubles:
    """w_k T_k M_k / (H W) (..., K, H, W): each sums to its attribute's contribution."""
    height, width = masks.shape[-2:]
    return WEIGHTS[:, None, None] * templates(height, width) * masks / (height * width)


def contribution_map(masks: NDArray[np.bool_]) -> Doubles:
    """Return sum_k w_k T_k M_k / (H W) (..., H, W) of masks (..., K, H, W), which sums to the score without BASE."""
    height, width = masks.shape[-2:]
    worth = WEIGHTS[:, None, None] * templates(height, width) / (height * width)
    return np.einsum("khw,...khw->...hw", worth, masks)


def score(seen_: Doubles) -> Doubles:
    """Return the true score (...), without the noise of votes."""
    return BASE + contributions(seen_).sum(-1)


def variance(seen_: Doubles) -> Doubles:
    """Return the variance (...) of votes, including the raters' biases, before votes are clipped and rounded."""
    return BIAS + SPREAD + (DISAGREEMENT * seen_).sum(-1)


def _biases() -> Doubles:
    return np.sqrt(BIAS) * stream("raters").standard_normal(RATERS)


def vote(seen_: Doubles, fewest: int, most: int, *name: object) -> Votes:
    """Draw votes of `fewest` to `most` raters on each of N landscapes (N, K), each from its own random stream."""
    biases = _biases()
    scores, spreads = score(seen_), np.sqrt(variance(seen_) - BIAS)
    counts = np.empty(len(seen_), np.int64)
    votes = np.zeros((len(seen_), most), np.int8)
    for index in range(len(seen_)):
        rng = stream(*name, "votes", index)
        count = fewest + int(rng.random() * (most - fewest + 1))
        felt = scores[index] + biases[rng.random(RATERS).argsort()[:count]]
        felt += spreads[index] * rng.standard_normal(count)
        counts[index], votes[index, :count] = count, np.rint(np.clip(felt, 1, 10))
    average = votes.sum(1) / counts
    cast = np.arange(most) < counts[:, None]
    return Votes(votes, average, (cast * (votes - average[:, None]) ** 2).sum(1) / counts)


def expected(seen_: Doubles, fewest: int, most: int) -> Doubles:
    """Return the expected average and population variance (N, 2) of `vote` on landscapes (N, K).

    A rater's vote v in 1 ... 10 has the probability that N(score + B, variance - BIAS) lies within 1/2 of v, or beyond
    the last vote; the pool's mean of it is the probability of a vote. The population variance of n votes is (n - 1) / n
    of that of one vote, on average.
    """
    votes = np.arange(1, 11)
    centre = score(seen_)[:, None, None] + _biases()
    spread = np.sqrt(variance(seen_) - BIAS)[:, None, None]
    below = norm.cdf(votes[:-1, None] + 0.5, centre, spread).mean(-1)
    probabilities = np.diff(below, prepend=0, append=1, axis=1)
    average = probabilities @ votes
    counts = np.arange(fewest, most + 1)
    shrunk = ((counts - 1) / counts).mean()
    return np.stack([average, shrunk * (probabilities @ votes**2 - average**2)], 1)


def probability(areas: Doubles) -> Doubles:
    """Return the probability (..., K) that an annotator reports attributes with visible shares `areas` (..., K)."""
    square = areas * areas
    return SLIP + (1 - 2 * SLIP) * square / (square + (TYPICAL / 5) ** 2)


def annotate(areas: Doubles, *name: object) -> Doubles:
    """Draw the share of three annotators who report each attribute, (N, K) in {0, 1/3, 2/3, 1}."""
    reported = np.stack([stream(*name, "annotators", i).random((3, areas.shape[-1])) for i in range(len(areas))])
    return (reported < probability(areas)[:, None]).sum(1) / 3
