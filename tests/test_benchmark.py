"""Rows of the speed benchmark; its times depend on the machine and are not tested."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from entry_point import ROOT, run
from omegaconf import OmegaConf

from evident.benchmark import comparison, table
from evident.benchmark.growth import exponent, growth
from evident.benchmark.peers import PEERS, Subject, Work
from evident.benchmark.relevance import MU, random_moments, spams_lasso
from evident.errors import UserError
from evident.relevance import mu_lasso

SMALL = ("benchmark.repeats=1", "benchmark.images=2", "benchmark.rendered=8", "scale=smoke")
MISSING = ("grad-cam", "torchray", "spams")
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
        "benchmark.peers=[[flower_net,2]]",
    )
    ended = run("task=benchmark", *SMALL, *few, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    written = pd.read_csv(tmp_path / "results" / "speed" / "table.csv")
    explainers = {path.stem for path in (ROOT / "conf" / "explainer").glob("*.yaml")}
    lasso_of_peers = "mu-lasso, 60 features, 3 classes"
    lasso = {"mu-lasso, 60 features, 3 classes", "mu-lasso, 60 features, 3 classes, SPAMS = 1"}
    # FlowerNet has no attention.
    explainers -= {"attention_rollout", "attention_relevance"}
    assert "attention_rollout: left out: FlowerNet has no attention" in ended.stderr
    assert set(written["row"]) == {"render an8flower 112x112", *explainers, *VEBI, *lasso, *FGVIS, *SIAM}
    assert (written["value"] > 0).all()
    assert (written["lowest"] <= written["value"]).all()
    compared = pd.read_csv(tmp_path / "results" / "speed" / "peers.csv").set_index("row")
    assert set(compared.index) == {f"{row.name}, flower_net" for row in comparison.ROWS} | {lasso_of_peers}
    assert (compared["evident"] > 0).all()
    assert compared["captum"].notna().sum() == sum("captum" in peers for peers in PEERS.values())


def test_both_solvers_are_timed_on_the_same_problem() -> None:
    gram, cross, labels = random_moments(200, 4, 300)
    assert gram.shape == (200, 200)
    np.testing.assert_allclose(mu_lasso(gram, cross, MU), spams_lasso(gram, cross, labels)().toarray(), atol=1e-8)


def test_unknown_part_is_named() -> None:
    with pytest.raises(UserError, match=r"benchmark.parts=peer is unknown; use rendering, explainers, .*, growth"):
        table.run(OmegaConf.create({"benchmark": {"parts": ["peers", "peer"]}}))


def test_unknown_network_of_the_comparison_is_named() -> None:
    with pytest.raises(UserError, match=r"benchmark.peers=vgg is unknown; use flower_net, squeezenet1_1, resnet50"):
        comparison.comparison(OmegaConf.create({"benchmark": {"peers": [["vgg", 1]]}}))


def test_peer_that_is_missing_or_fails_is_blank_with_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(subject: Subject) -> Work:
        raise ModuleNotFoundError("no", name="pytorch_grad_cam.utils")

    def failing(subject: Subject) -> Work:
        raise ValueError("too old")

    monkeypatch.setitem(PEERS, "gradient", {"grad-cam": missing, "torchray": failing})
    monkeypatch.setattr(comparison, "ROWS", comparison.ROWS[:1])
    monkeypatch.setattr(comparison, "_mu_lasso", lambda config: None)
    config = OmegaConf.create({"benchmark": {"peers": [["flower_net", 1]], "repeats": 2}})
    with caplog.at_level("WARNING", "evident"):
        [line] = comparison.comparison(config).to_dict("records")
    assert "grad-cam is blank: no pytorch_grad_cam; run pip install grad-cam" in caplog.messages
    assert "torchray is blank for gradient on FlowerNet: too old" in caplog.messages
    assert line["evident"] > 0
    assert line["grad-cam"] is None is line["torchray"]


def test_ours_is_bold_only_where_a_peer_is_there_and_slower(tmp_path: Path) -> None:
    ours: dict[str, object] = {
        "unit": "pass",
        "goal": 1.05,
        "evident": 1.1,
        "lowest": 1.0,
        "highest": 1.2,
        "repeats": 3,
    }
    rows: list[dict[str, object]] = [
        {"row": "a", "captum": 1.2},
        {"row": "b", "captum": 1.0, "quantus": 3.0},
        {"row": "c"},
    ]
    comparison.write(pd.DataFrame([{**ours, **row} for row in rows], columns=[*rows[1], *ours, *MISSING]), tmp_path)
    lines = (tmp_path / "peers.md").read_text().splitlines()[2:]
    assert ["**1.10 (1.00 to 1.20)**" in line for line in lines] == [True, False, False]
    assert lines[1] == "| b | pass | 1.05 | 1.10 (1.00 to 1.20) | 1.00 |  |  | 3.00 |  |"


def test_exponent_is_that_of_a_power_and_undefined_for_values_without_a_logarithm() -> None:
    sizes = [10, 30, 100]
    assert exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert np.isnan(exponent(sizes, [1, 0, 2]))
    assert np.isnan(exponent([10], [1]))


def test_growth_has_a_line_for_each_size_of_every_axis() -> None:
    sizes = {
        **{"explained": [1, 2], "sides": [32, 48], "rendered": [1, 2], "images": [10, 20], "features": [60, 90]},
        **{"classes": [2, 3], "gram": [20, 40], "gram_images": 50},
        "relevance": {
            "images": {"features": 60, "classes": 2},
            "features": {"images": 40, "classes": 2},
            "classes": {"images": 40, "features": 60},
        },
    }
    grown = growth(OmegaConf.create({"benchmark": {"growth": sizes}}))
    axes = grown.groupby(["part", "grows"], sort=False)["size"].agg(list).to_dict()
    assert axes == {
        ("explanation and scores", "images"): [1, 2],
        ("explanation and scores", "side"): [32, 48],
        ("rendering", "images"): [1, 2],
        ("relevance", "images"): [10, 20],
        ("relevance", "features"): [60, 90],
        ("relevance", "classes"): [2, 3],
        ("Gram matrix", "features"): [20, 40],
    }
    assert (grown["seconds"] > 0).all()
    first = grown.iloc[:2]
    slope = np.diff(np.log(first["seconds"])) / np.diff(np.log(first["size"]))
    np.testing.assert_allclose(first["exponent_seconds"], slope.item())
