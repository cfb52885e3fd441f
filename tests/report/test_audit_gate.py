"""Networks that do not use what the masks mark have no scores by masks."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_samples import finished_cell, image_scores

from evident.cell_folder import FEATURES, NETWORK, SCORES, Product
from evident.models.audit import Audit as Measured
from evident.report import experiment as module
from evident.report.experiment import Cell, Experiment
from evident.report.sections.audit import Audit
from evident.report.sections.features import Features

METRICS = {
    name: {"_target_": f"evident.metrics.{target}", "_partial_": True}
    for name, target in {"pointing_game": "localization.pointing_game", "gini": "complexity.gini"}.items()
}


def audited_cell(root: Path, seed: int, audit: bool = True) -> Cell:
    scores = pd.concat([image_scores(name, [0.5, 0.6], seed=seed) for name in METRICS])
    products: dict[Product[Any], Any] = {NETWORK: {"hash": f"network {seed}"}, SCORES: scores}
    return finished_cell(
        root, "rise", seed=seed, products=products, config={"scale": {"audit": audit}, "metric": METRICS}
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every network pass but that of seed 1; the list holds the seeds of the networks that are audited."""
    seeds: list[int] = []

    def audited(config: Any) -> dict[str, Any]:
        seeds.append(config.seed)
        shares = {"accuracy": 1.0, "recoloured": 0.995, "surrounded": 0.5 if config.seed == 1 else 0.0, "grey": 0.1}
        found = Measured(n=600, classes=6, **shares)
        names = {"data": "flowers", "model": "net", "seed": config.seed, "network": f"network {config.seed}"}
        return {**names, "n": 600, "classes": 6, **shares, "passed": found.passed}

    monkeypatch.setattr(module, "audited", audited)
    return seeds


def test_network_that_fails_has_no_scores_by_masks(tmp_path: Path, asked: list[int]) -> None:
    experiment = Experiment([audited_cell(tmp_path, seed) for seed in (0, 1)])
    found = experiment.scores.groupby("seed")["metric"].agg(set).to_dict()
    assert found == {0: {"pointing_game", "gini"}, 1: {"gini"}}
    part = Audit().report(experiment)
    assert part.tables["audit"]["passed"].tolist() == [True, False]
    assert "| net seed 1 on flowers | 100.0% | 99.5% | 50.0% | 10.0% | no |" in part.text
    assert "**Without scores by masks: net seed 1 on flowers.**" in part.text
    assert asked == [0, 1]


def test_evidence_of_features_of_a_network_that_fails_is_hidden(tmp_path: Path, asked: list[int]) -> None:
    table = pd.DataFrame({"class": ["red"], "place": [3], "feature": ["relu:3"], "weight": [1.0]})
    known = table.assign(purity=0.9, evidence=0.8, evidence_control=0.1)
    cells = [audited_cell(tmp_path, seed) for seed in (0, 1)]
    for cell in cells:
        cell.folder.write(FEATURES, known)
    shown = Features().report(Experiment(cells)).tables["features"].set_index("seed")
    assert shown.loc[0, ["purity", "evidence", "evidence_control"]].tolist() == [0.9, 0.8, 0.1]
    assert shown.loc[1, "purity"] == 0.9
    assert shown.loc[1, ["evidence", "evidence_control"]].isna().all()


def test_network_that_is_not_in_the_store_has_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"data": "flowers", "model": "net", "seed": 0, "network": "of another machine"}
    monkeypatch.setattr(module, "audited", lambda config: {**names, "passed": False})
    experiment = Experiment([audited_cell(tmp_path, 0)])
    assert set(experiment.scores["metric"]) == {"gini"}
    assert "| net seed 0 on flowers | not in the store |" in Audit().report(experiment).text


def test_nothing_is_audited_where_the_scale_does_not_ask(tmp_path: Path, asked: list[int]) -> None:
    experiment = Experiment([audited_cell(tmp_path, 1, audit=False)])
    assert set(experiment.scores["metric"]) == {"pointing_game", "gini"}
    part = Audit().report(experiment)
    assert (part.tables, part.text, asked) == ({}, "", [])


def test_data_set_that_cannot_change_its_evidence_is_loaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    monkeypatch.setattr(module, "audited", lambda config: loaded.append(config.seed))
    experiment = Experiment([audited_cell(tmp_path, seed) for seed in (0, 1)])
    assert experiment.audits == []
    assert len(loaded) == 1
