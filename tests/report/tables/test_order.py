"""The order of explainers, and the scores and names that the table to read shows."""

import re

import pandas as pd
import pytest
from entry_point import ROOT

from evident.report.tables.glossary import address, entries
from evident.report.tables.order import best_first, ranked
from evident.report.tables.score_text import Layout, budgets_in_words, markdown


def table(**scores: tuple[str, dict[str, float]]) -> pd.DataFrame:
    """Return a table of scores by name: direction, and mean by explainer."""
    return pd.DataFrame(
        [
            {"explainer": name, "data": "d", "model": "m", "metric": metric, "direction": direction, "mean": mean}
            | {"ci_low": mean - 0.1, "ci_high": mean + 0.1, "n": 4, "n_undefined": 0, "networks": 1, "seeds": "0"}
            for metric, (direction, means) in scores.items()
            for name, mean in means.items()
        ]
    )


MEANS = {"poor": 0.1, "random": 0.9, "good": 0.8, "none": float("nan"), "centre": 0.2}


@pytest.mark.parametrize(
    ("direction", "order"),
    [
        ("higher", ["good", "poor", "none", "random", "centre"]),
        ("lower", ["poor", "good", "none", "centre", "random"]),
        ("neither", ["poor", "good", "none", "random", "centre"]),
    ],
)
def test_best_comes_first_and_references_last(direction: str, order: list[str]) -> None:
    rows = table(size=("neither", {name: -mean for name, mean in MEANS.items()}), iou=(direction, MEANS))
    assert best_first(rows, {"random", "centre"}) == order


def test_explainers_are_ranked_by_the_first_score_with_a_direction() -> None:
    labels = {"experiment": "e", "data": "d", "model": "m", "network": "n", "seed": 0, "target": 0, "axis": ""}
    scores = pd.DataFrame(
        [
            {**labels, "explainer": name, "image": image, "metric": metric, "at": float("nan"), "value": value}
            for name, of in {"a": (9, 0.5), "b": (1, 0.2), "random": (5, 0.1)}.items()
            for metric, value in zip(("size", "deletion"), of, strict=True)
            for image in "xy"
        ]
        + [{**labels, "explainer": "c", "image": "x", "metric": "size", "at": float("nan"), "value": 1}]
    )
    assert ranked(scores, {"size": "neither", "deletion": "lower"}, {"random"}) == ["b", "a", "c", "random"]


def test_table_shows_six_scores_with_a_direction_and_names_the_rest() -> None:
    means = {"a": 0.2, "b": 0.4}
    rows = table(size=("neither", means), **{f"m_{number}": ("higher", means) for number in range(7)})
    text = markdown(rows, set())
    header = next(line for line in text.splitlines() if line.startswith("| "))
    assert header == "| explainer | " + " | ".join(f"m {number} ↑" for number in range(6)) + " |"
    assert "\nIn `table.csv` only: size, m 6.\n" in text
    few = markdown(table(size=("neither", means), iou=("higher", means)), set())
    assert "| explainer | size | iou ↑ |" in few
    assert "table.csv" not in few


def test_names_are_titles_and_scores_link_to_their_entries() -> None:
    rows = table(iou_best=("higher", {"grad_cam": 0.2, "rise": 0.4}), mine=("higher", {"grad_cam": 1, "rise": 0}))
    layout = Layout({"grad_cam": "Grad-CAM", "rise": "RISE"}, glossary=address("fgvis/games"))
    lines = [line for line in markdown(rows, set(), {"rise": "5 masks"}, layout=layout).splitlines() if line]
    assert lines[2] == "| explainer | [iou best](../../../docs/glossary.md#iou_best) ↑ | mine ↑ |"
    assert [line.split(" | ")[0] for line in lines[4:6]] == ["| RISE", "| Grad-CAM"]
    assert lines[-1].endswith("Budgets per image: 5 masks (RISE).")


@pytest.mark.parametrize("experiment", ["an8flower", "fgvis/games"])
def test_address_of_the_glossary_is_that_of_the_file(experiment: str) -> None:
    assert (ROOT / "results" / experiment / address(experiment)).resolve() == ROOT / "docs" / "glossary.md"


def test_every_score_of_the_glossary_has_an_anchor_of_its_name() -> None:
    section = (ROOT / "docs" / "glossary.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = re.findall(r'^\| (?:<a id="([^"]+)"></a>)?`([^`]+)` \|', section, flags=re.M)
    assert rows
    assert all(anchor == score for anchor, score in rows)
    assert entries() == {score for _, score in rows}


def test_budgets_are_grouped() -> None:
    assert budgets_in_words({"a": "5 steps", "b": "9 masks", "c": "5 steps"}) == "5 steps (a, c), 9 masks (b)"
    assert budgets_in_words({"a": "5 steps", "c": "5 steps"}) == "5 steps each"
    assert budgets_in_words({"a": "5 steps"}) == "5 steps (a)"
