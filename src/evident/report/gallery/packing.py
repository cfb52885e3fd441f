"""Numbers as short text, for a script that a browser reads."""

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
STEPS = 4094  # two letters distinguish 4096 values; the last one is NaN
UNDEFINED = STEPS + 1
DIGITS = 4  # of a score


def pack(values: ArrayLike, low: float, high: float) -> str:
    """Return values in [low, high] as two letters each, to (high - low) / 8188; NaN is kept."""
    found = np.asarray(values, float)
    shares = (found - low) / (high - low) if high > low else np.zeros_like(found)
    steps = np.where(np.isnan(found), UNDEFINED, np.nan_to_num(shares).clip(0, 1) * STEPS).round().astype(int)
    return "".join(ALPHABET[step // 64] + ALPHABET[step % 64] for step in steps.ravel())


def rounded(values: Iterable[float]) -> list[float | None]:
    """Return values with four significant digits; None for those that are not finite, which JSON does not have."""
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in values]


def script(name: str, content: dict[str, Any]) -> str:
    """Return a script that assigns `content` to one global.

    It is ASCII, and no text of a user can end it: `<`, `>` and `&` are escaped.
    """
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"window.{name} = {text};\n"
