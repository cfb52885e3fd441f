"""`task=recompute`: the same bytes, a changed cell, cells of other machines, and what is refused."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from entry_point import axes, made_once, run, written
from report_samples import finished_cell, image_scores

from evident.cell_folder import COST, DIRECTIONS, SCORES, Product
from evident.errors import UserError
from evident.recompute import differing, draw, within_intervals

FEW = (*axes(explainer="random,gradient"), "scale=smoke", "logger=none", "metric=[average_precision]")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a small sweep and return its store, whose results are the record."""

    def make(store: Path) -> None:
        ended = run(*FEW, store=store)
        assert ended.returncode == 0, ended.stderr

    return made_once(tmp_path_factory, "recompute", make)


def again(store: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return run("task=recompute", *FEW, f"against={store / 'results'}", "draw.share=1", *overrides, store=store)


def cell_of(store: Path, explainer: str) -> Path:
    cells = json.loads((store / "results" / "an8flower" / "provenance.json").read_text())["cells"]
    return store / "cells" / cells[f"an8flower_single_6c flower_net {explainer} seed 0"]


def test_same_bytes_and_a_changed_cell_are_found_and_nothing_is_written(record: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(record, store)
    before = written(store)
    ended = again(store)
    assert ended.returncode == 0, ended.stderr
    *lines, last = ended.stdout.splitlines()
    assert sorted(lines) == [
        f"an8flower_single_6c flower_net {name} seed 0: same bytes" for name in ("gradient", "random")
    ]
    assert last == "2 of 2 cells agree with the record, of 2 (draw.seed=0)"
    assert written(store) == before
    changed = cell_of(store, "gradient") / SCORES.file
    scores = pd.read_parquet(changed)
    scores["value"] += 1e-7
    scores.to_parquet(changed, index=False)
    ended = again(store)
    assert ended.returncode == 1
    assert f"gradient seed 0: differs in {SCORES.file}" in ended.stdout
    assert "random seed 0: same bytes" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("1 of 2 cells agree")


def test_cell_of_another_machine_is_compared_by_its_numbers(record: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(record, store)
    made = cell_of(store, "gradient") / "environment.json"
    made.write_text(json.dumps({**json.loads(made.read_text()), "device": "abacus"}))
    shutil.rmtree(cell_of(store, "random"))
    ended = again(store)
    assert ended.returncode == 0, ended.stderr
    found = re.findall(r"(\w+) seed 0: made elsewhere, confirmed: 0 of 1 numbers outside", ended.stdout)
    assert sorted(found) == ["gradient", "random"]
    table = store / "results" / "an8flower" / "table.csv"
    other = pd.read_csv(table)
    other[["mean", "ci_low", "ci_high"]] += 0.5
    other.to_csv(table, index=False)
    ended = again(store)
    assert ended.returncode == 1
    assert ended.stdout.count("made elsewhere, not confirmed: 1 of 1 numbers outside") == 2


def test_cell_that_the_experiment_no_longer_has_is_named(record: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(record, store)
    ended = run(
        *("task=recompute", *FEW, *axes(explainer="random"), f"against={store / 'results'}", "draw.share=1"),
        store=store,
    )
    assert ended.returncode == 1
    assert "gradient seed 0: not a cell of experiment=an8flower any more" in ended.stdout


def test_another_scale_and_a_missing_record_are_errors(record: Path, tmp_path: Path) -> None:
    ended = run("task=recompute", f"against={record / 'results'}", store=tmp_path)
    assert ended.stderr.splitlines()[-1] == "the record has scale=smoke; add scale=smoke"
    ended = run("task=recompute", "scale=smoke", f"against={tmp_path}/none", store=tmp_path)
    assert ended.stderr.splitlines()[-1].endswith("is missing; against=DIR takes a folder such as results")
    assert ended.returncode == 1


def test_a_share_of_the_cells_is_drawn_by_the_seed_and_at_least_one() -> None:
    names = [f"cell {number}" for number in range(200)]
    drawn = draw(names, 0.02, 0)
    assert len(set(drawn)) == 4
    assert set(drawn) <= set(names)
    assert draw(names[::-1], 0.02, 0) == drawn
    assert draw(names, 0.02, 1) != drawn
    assert len(draw(names[:3], 0.02, 0)) == 1
    assert sorted(draw(names, 1, 0)) == sorted(names)
    for share in (0, -0.1, 1.1):
        with pytest.raises(UserError, match=rf"draw.share={share} is not in \(0, 1\]"):
            draw(names, share, 0)


def test_times_and_memory_may_differ_but_counts_and_files_may_not(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    cost = {"images": 4, "seconds": 1.5, "forward_passes": 8, "backward_passes": 0, "peak_memory": 100}
    for folder, changed in ((one, {}), (two, {"seconds": 2.5, "peak_memory": 7})):
        folder.mkdir()
        (folder / COST.file).write_text(json.dumps({**cost, **changed}))
        (folder / "environment.json").write_text(str(changed))
    assert differing(one, two) == []
    (two / "outcomes.csv").write_text("")
    (two / COST.file).write_text(json.dumps({**cost, "forward_passes": 9}))
    assert differing(one, two) == differing(two, one) == [COST.file, "outcomes.csv"]


@pytest.mark.parametrize(("seeds", "limit"), [("0", 0.1 * 2**0.5), ("0 1 2 3", 0.1 * 5**0.5)])
def test_interval_of_one_cell_is_wider_than_that_of_a_row_of_several(tmp_path: Path, seeds: str, limit: float) -> None:
    row = {"explainer": "gradient", "data": "photos", "model": "net", "metric": "x", "seeds": seeds}
    record = pd.DataFrame([{**row, "mean": 0.5, "ci_low": 0.4, "ci_high": 0.6}])
    for name, value, inside in (("in", 0.5 + limit - 0.001, True), ("out", 0.5 + limit + 0.001, False)):
        products: dict[Product[Any], Any] = {SCORES: image_scores("x", [value] * 3), DIRECTIONS: {"x": "higher"}}
        cell = finished_cell(tmp_path / name / seeds.replace(" ", ""), products=products)
        found = within_intervals(cell, record)
        assert (found.numbers, found.confirmed) == (1, inside)
