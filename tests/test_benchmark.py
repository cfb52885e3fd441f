"""The benchmark measures every explainer and the renderer; its numbers are the machine's affair."""

from pathlib import Path

import pandas as pd
from entry_point import ROOT, run


def test_it_has_a_row_for_the_renderer_and_every_explainer(tmp_path: Path) -> None:
    small = ("benchmark.repeats=2", "benchmark.images=2", "benchmark.rendered=8", "scale=smoke")
    ended = run("task=benchmark", *small, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(tmp_path / "results" / "speed" / "table.csv")
    explainers = {path.stem for path in (ROOT / "conf" / "explainer").glob("*.yaml")}
    assert set(table["row"]) == {"render an8flower 112x112", *explainers}
    assert (table["value"] > 0).all()
    assert (table["lowest"] <= table["value"]).all()
    assert (table["repeats"] == 2).all()
