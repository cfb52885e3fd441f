"""The smallest sufficient budget, and the spread over seeds, of scores written by hand."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from evident.report.tables import budgets as tables


def by_image(*means: float, spread: float = 0.0, images: int = 16) -> pd.DataFrame:
    """Return scores of budgets b0, b1, ... whose differences from the last vary by +-spread between images."""
    sign = np.where(np.arange(images) % 2, 1.0, -1.0)
    last = len(means) - 1
    scores = {f"b{k}": mean + (spread * sign if k < last else 0 * sign) for k, mean in enumerate(means)}
    return pd.DataFrame(scores)


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.5, 0.6, 0.695, 0.7), "b2"),
        ((0.7, 0.7, 0.7, 0.7), "b0"),
        ((0.5, 0.6, 0.68, 0.7), "b3"),
        ((0.9, 0.8, 0.75, 0.7), "b0"),  # more steps may be worse
        ((0.7, 0.6, 0.7, 0.7), "b2"),  # the first is lucky: twice its budget does not suffice
    ],
)
def test_knee_is_the_smallest_budget_from_which_on_all_suffice(means: tuple[float, ...], expected: str) -> None:
    assert tables.knee(by_image(*means), tolerance=0.01) == expected


def test_knee_allows_one_standard_error_of_the_difference() -> None:
    means = (0.64, 0.7)
    assert tables.knee(by_image(*means, spread=0.2), 0.01) == "b1"  # 0.2 / sqrt(16), a little above 0.05
    assert tables.knee(by_image(*means, spread=0.3), 0.01) == "b0"


def test_images_without_a_score_do_not_decide() -> None:
    scores = by_image(0.5, 0.7)
    scores.loc[1:, "b0"] = np.nan
    scores.loc[0, "b0"] = 0.7
    assert tables.knee(scores, 0.01) == "b0"


def scores(values: Mapping[tuple[str, int, int], list[float]], metric: str = "precision") -> pd.DataFrame:
    """Return scores by (budget, passes, seed), one per image."""
    labels = {"data": "d", "model": "m", "explainer": "rise", "metric": metric}
    rows = [
        {**labels, "budget": budget, "passes": passes, "seed": seed, "image": str(image), "value": value}
        for (budget, passes, seed), of_images in values.items()
        for image, value in enumerate(of_images)
    ]
    return pd.DataFrame(rows)


def test_table_is_sorted_by_passes_and_tells_both_spreads_apart() -> None:
    # Two seeds whose images differ in opposite directions: the means are equal, the images are not.
    frame = scores(
        {
            ("100 masks", 100, 0): [0.2, 0.4],
            ("100 masks", 100, 1): [0.4, 0.2],
            ("20 masks", 20, 0): [0.1, 0.1],
            ("20 masks", 20, 1): [0.2, 0.2],
        }
    )
    table = tables.table(frame, "precision", 0.01)
    assert table["budget"].tolist() == ["20 masks", "100 masks"]
    assert table["mean"].tolist() == pytest.approx([0.15, 0.3])
    assert table["sd_mean"].tolist() == pytest.approx([0.1 / 2**0.5, 0], abs=1e-12)
    assert table["sd_image"].tolist() == pytest.approx([0.1 / 2**0.5, 0.2 / 2**0.5])
    assert table["knee"].tolist() == [False, True]
    assert table[["seeds", "n"]].to_numpy().tolist() == [[2, 2], [2, 2]]


def test_knee_of_one_metric_marks_the_rows_of_all() -> None:
    values = {("1 step", 1, 0): [0.7, 0.7], ("2 steps", 2, 0): [0.7, 0.7]}
    other = {("1 step", 1, 0): [0.1, 0.1], ("2 steps", 2, 0): [0.9, 0.9]}
    both = pd.concat([scores(values), scores(other, "iou")], ignore_index=True)
    table = tables.table(both, "precision", 0.01)
    assert table[table["knee"]]["budget"].tolist() == ["1 step", "1 step"]
    text = tables.markdown(table, ["precision", "iou"])
    assert "| rise | **1 step** | 1 | 1 | 0.700 ± 0.000 | – | – | 0.100 ± 0.000 | – | – |" in text
    assert "| rise | 2 steps |" in text
