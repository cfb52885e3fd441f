"""The estimate of large runs: known answers of its rules, and the page shows what the script prints."""

import runpy
from pathlib import Path

import pandas as pd
import pytest
from entry_point import ROOT

ESTIMATE = runpy.run_path(str(ROOT / "experiments" / "scale" / "estimate.py"))
FORWARD = pd.Series({"a": 1.0, "b": 2.0, "c": 10.0})
SECONDS = pd.DataFrame({"a": {"rise": 3.0, "lime": 8.0}, "b": {"rise": 4.0, "lime": 8.0}})


def test_seconds_are_kept_where_measured_and_scaled_by_forward_passes_elsewhere() -> None:
    seconds = ESTIMATE["explaining"](SECONDS, FORWARD)
    assert seconds[["a", "b"]].equals(SECONDS)
    assert seconds["c"].to_dict() == {"rise": 10 * (3 / 1 + 4 / 2) / 2, "lime": 10 * (8 / 1 + 8 / 2) / 2}


def test_a_cell_explains_again_for_each_draw_and_passes_twice_for_each_step() -> None:
    cells = ESTIMATE["cells"](SECONDS, FORWARD, images=10, draws=1, steps=20)
    assert cells.loc["rise"].to_dict() == {"a": 10 * (2 * 3 + 40 * 1), "b": 10 * (2 * 4 + 40 * 2)}


@pytest.mark.parametrize(("workers", "end"), [(1, 14), (2, 7), (3, 6), (64, 6)])
def test_whole_cells_end_no_earlier_than_the_longest(workers: int, end: float) -> None:
    assert ESTIMATE["whole"]([1, 3, 6, 4], workers) == end


def test_explainers_without_a_row_of_every_measured_network_are_left_out(tmp_path: Path) -> None:
    rows = [("rise", "a", 3), ("rise", "b", 4), ("lime", "a", 8)]
    pd.DataFrame(rows, columns=["explainer", "model", "seconds_per_image"]).to_csv(tmp_path / "cost.csv")
    assert ESTIMATE["measured"](tmp_path / "cost.csv").index.tolist() == ["rise"]


def test_every_network_has_a_config_and_a_measured_forward_pass() -> None:
    forward = pd.read_csv(ESTIMATE["FORWARD"], index_col="model")["seconds_per_image"]
    assert tuple(forward.index) == ESTIMATE["NETWORKS"]
    assert (forward > 0).all()
    assert all((ROOT / "conf" / "model" / f"{name}.yaml").is_file() for name in forward.index)


def test_a_network_is_timed_in_seconds_per_image() -> None:
    found = ESTIMATE["measure"](("squeezenet1_1",), batch=2, rounds=1)
    assert list(found.index) == ["squeezenet1_1"]
    assert 1e-4 < found["squeezenet1_1"] < 10


def test_page_shows_what_the_script_prints() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    assert f"<!-- estimate -->\n{ESTIMATE['tables']()}\n<!-- end -->" in page
