"""From measured effects to the verdict on a claim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from scipy.stats import t as student

from evident.report.tables.statistics import holm, student_p

Verdict = Literal["holds", "refuted", "undecided", "underpowered", "post hoc"]
LEVEL = 0.05  # of all effects of one claim together
DECIDED = ("holds", "refuted")
MOST = 1000  # units that anyone would measure


@dataclass(frozen=True)
class Effect:
    """Hold an effect that a claim needs: `value` is positive where the claim is right, `p` that of a two-sided test.

    `networks` were measured on `images` each. `units` counts the sample of the test: the networks, or images where
    there is a single network or where the table has no network by network values.
    """

    value: float
    p: float
    networks: int
    images: int
    units: int


def judge(effects: Sequence[Effect]) -> Verdict:
    """Return the verdict on a claim that needs all these effects.

    The p-values are corrected by Holm's method within the claim, its family. The claim holds if every effect is
    positive and significant, that is if its adjusted interval lies above zero; it is refuted if one is negative and
    significant. Otherwise it is undecided, or underpowered if there are so few units that equal signs of all of them,
    which is all that a test without assumptions sees, would not be significant: 2^(1 - units) times the tests.
    """
    adjusted = holm(np.array([effect.p for effect in effects]))
    values = np.array([effect.value for effect in effects])
    significant = adjusted < LEVEL
    if (significant & (values > 0)).all():
        return "holds"
    if (significant & (values < 0)).any():
        return "refuted"
    fewest = min(effect.units for effect in effects)
    return "underpowered" if 2.0 ** (1 - fewest) * len(effects) >= LEVEL else "undecided"


def sample(effects: Sequence[Effect], unit: str = "images") -> str:
    """Return the sample and the family of a claim as text: `6 networks x 16 images, 3 tests`."""
    networks, images = min(e.networks for e in effects), min(e.images for e in effects)
    counted = f"{networks} network{'s' * (networks > 1)} x {images} {unit}"
    over = f" over {unit}" if networks > 1 and any(effect.units != effect.networks for effect in effects) else ""
    return f"{counted}, {len(effects)} test{'s' * (len(effects) > 1)}{over}"


def judged(effects: Sequence[Effect], unit: str = "images") -> tuple[str, Verdict, str]:
    """Return sample, verdict and `decided_by` of a claim that needs all these effects: the last fields of `Claim`."""
    verdict, text = judge(effects), sample(effects, unit)
    if verdict in DECIDED or min(effect.units for effect in effects) < 2:  # one unit has no spread to go by
        return text, verdict, ""
    units = "networks" if effects[0].units == effects[0].networks else unit
    return text, verdict, f"{deciding(effects) or f'more than {MOST:,}'} {units}"


def deciding(effects: Sequence[Effect]) -> int | None:
    """Return the smallest sample that decides the claim if means and spreads stay as measured; None above `MOST`.

    A new sample of this size decides in about half of all cases, because its mean varies too.
    """
    found = np.array([max(effect.units, 2) for effect in effects])
    p = np.array([effect.p for effect in effects])
    sizes = student.isf(p / 2, found - 1) / np.sqrt(found)  # mean over deviation
    units = np.arange(found.min(), MOST + 1)
    by_units = student_p(sizes, 1 / np.sqrt(units)[:, None], units[:, None])
    for count, of_count in zip(units.tolist(), by_units, strict=True):
        if judge([replace(e, p=own, units=count) for e, own in zip(effects, of_count, strict=True)]) in DECIDED:
            return count
    return None


def over_networks(values: pd.Series, images: int) -> Effect:
    """Return the mean of one value per network as an effect, by Student's test; `images` are those of each network."""
    networks = len(values)
    error: Any = values.sem()
    return Effect(values.mean(), float(student_p(values.mean(), error, networks)), networks, images, networks)


def from_interval(row: Mapping[Any, Any] | pd.Series, column: str, least: float) -> Effect:
    """Return how far `row[column]` is above `least`, from its 95 % interval over the networks of the row.

    The interval of a single network is over its n images, and so is that of tables without a column `networks`.
    """
    value, images = float(row[column]) - least, int(row["n"])
    networks = int(row.get("networks", len(str(row.get("seeds", "0")).split())))
    units = networks if networks > 1 and "networks" in row else images
    error = (row["ci_high"] - row["ci_low"]) / 2 / student.ppf(0.975, max(units - 1, 1))
    return Effect(value, float(student_p(value, error, units)), networks, images, units)


def from_share(count: int, of: int, least: float) -> Effect:
    """Return how far the share `count` / `of` of single images is above `least`, by the exact binomial test."""
    return Effect(count / of - least, float(binomtest(count, of, least).pvalue), 1, of, of)


def exactly(condition: bool) -> Verdict:
    """Return the verdict on a rule about numbers as they are, without a test."""
    return "holds" if condition else "refuted"
