"""Rows of the speed benchmark; its times depend on the machine and are not tested."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from entry_point import ROOT, run

from evident.benchmark.relevance import MU, random_moments, spams_lasso
from evident.relevance import mu_lasso

SMALL = ("benchmark.repeats=1", "benchmark.images=2", "benchmark.rendered=8", "scale=smoke")
VEBI = {f"responses of {network}, {layers} layers" for network in ("FlowerNet", "ResNet") for layers in ("relu", "all")}
FGVIS = {
    *(f"FGVis's step on squeezenet1_1, filter {kind}, 1 images, unfiltered = 1" for kind in ("published", "one_sided")),
    "FGVis on squeezenet1_1, 2 images together, one by one = 1",
}
SIAM = {f"{what} on scene_net, linear head = 1" for what in ("SIAM", "SIAM and its explanation", "operations of SIAM")}


@pytest.mark.slow
def test_benchmark_has_rows_for_the_renderer_all_explainers_and_the_parts_of_the_papers(tmp_path: Path) -> None:
    few = (
        "benchmark.mu_lasso=[[60,3]]",
        "benchmark.mu_lasso_images=90",
        "benchmark.fgvis=[squeezenet1_1]",
        "benchmark.siam=[scene_net]",
    )
    ended = run("task=benchmark", *SMALL, *few, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(tmp_path / "results" / "speed" / "table.csv")
    explainers = {path.stem for path in (ROOT / "conf" / "explainer").glob("*.yaml")}
    lasso = {"mu-lasso, 60 features, 3 classes", "mu-lasso, 60 features, 3 classes, SPAMS = 1"}
    # FlowerNet has no attention.
    explainers -= {"attention_rollout", "attention_relevance"}
    assert "attention_rollout: left out: FlowerNet has no attention" in ended.stderr
    assert set(table["row"]) == {"render an8flower 112x112", *explainers, *VEBI, *lasso, *FGVIS, *SIAM}
    assert (table["value"] > 0).all()
    assert (table["lowest"] <= table["value"]).all()


def test_both_solvers_are_timed_on_the_same_problem() -> None:
    gram, cross, labels = random_moments(200, 4, 300)
    assert gram.shape == (200, 200)
    np.testing.assert_allclose(mu_lasso(gram, cross, MU), spams_lasso(gram, cross, labels)().toarray(), atol=1e-8)
