"""The estimate of large runs: known answers of its rules, and the page shows what the script prints."""

import runpy

import pandas as pd
import pytest
from entry_point import ROOT

from evident.cli import composed
from evident.models.building import published

ESTIMATE = runpy.run_path(str(ROOT / "experiments" / "scale" / "estimate.py"))
FULL, HALF, GRADIENT = ESTIMATE["FULL"], ESTIMATE["HALF"], ESTIMATE["GRADIENT"]
KINDS = [FULL, HALF, GRADIENT]
COUNTED = pd.DataFrame(
    [
        ("squeezenet1_1", "gradient", 1, 1),
        ("squeezenet1_1", "rise", 1000, 0),
        ("squeezenet1_1", "fgvis", 106, 101),
        ("squeezenet1_1", "score_cam", 513, 0),
        ("mobilenet_v2", "score_cam", 1281, 0),
    ],
    columns=["model", "explainer", "forward", "backward"],
).set_index(["model", "explainer"])


def passes(network: str, explainer: str, *further: str) -> dict[str, float] | None:
    request = ESTIMATE["request_of"](network, explainer, "paths.data=none", *further)
    found: dict[str, float] | None = ESTIMATE["passes_of"](request, COUNTED, 95)
    return found


def test_stability_explains_again_with_a_gradient_and_metrics_pass_in_half_precision() -> None:
    assert passes("resnet18", "gradient") == {FULL: 0, HALF: 95, GRADIENT: 2}
    assert passes("resnet18", "gradient", "scale.metric.stability.draws=3") == {FULL: 0, HALF: 95, GRADIENT: 4}


def test_explainers_that_stability_leaves_out_explain_once() -> None:
    assert passes("resnet18", "rise") == {FULL: 0, HALF: 1000 + 95, GRADIENT: 0}
    # Passes without a gradient stay in float32, where the explainer also takes others with one.
    assert passes("resnet18", "fgvis") == {FULL: 5, HALF: 95, GRADIENT: 101}


def test_without_half_precision_all_passes_are_in_float32() -> None:
    assert passes("resnet18", "rise", "precision=32-true") == {FULL: 1095, HALF: 0, GRADIENT: 0}


def test_score_cam_has_the_count_of_its_network() -> None:
    assert passes("mobilenet_v2", "score_cam") == {FULL: 0, HALF: 1281 + 95, GRADIENT: 0}
    assert passes("resnet18", "score_cam") is None  # not counted here


def test_what_the_experiment_leaves_out_has_no_passes() -> None:
    assert passes("mobilenetv1_100", "rise") is None
    assert passes("resnet50", "score_cam") is None


def test_seconds_are_passes_of_each_kind_times_those_of_the_network() -> None:
    forward = pd.DataFrame([[2, 1, 5], [20, 10, 50]], index=["a", "b"], columns=KINDS)
    index = pd.MultiIndex.from_tuples([("b", "x"), ("a", "x"), ("a", "y")], names=["model", "explainer"])
    counted = pd.DataFrame([[1, 0, 0], [0, 3, 0], [1, 1, 1]], index=index, columns=KINDS)
    assert ESTIMATE["seconds_of"](counted, forward).tolist() == [20, 3, 8]


def test_passes_of_metrics_follow_the_config() -> None:
    def counted(*further: str) -> int:
        found: int = ESTIMATE["passes_of_metrics"](
            ESTIMATE["request_of"]("resnet18", "gradient", "paths.data=none", *further)
        )
        return found

    assert counted("metric=[gini]") == 0
    assert counted("metric=[road]") == 2 * 7 + 1
    # Both references of deletion and insertion take 2 passes a step.
    assert counted("scale.metric.perturbation.steps=5") == 2 * 2 * 5 + 2 * 7 + 1


@pytest.mark.parametrize(("workers", "end"), [(1, 14), (2, 7), (3, 6), (64, 6)])
def test_whole_cells_end_no_earlier_than_the_longest(workers: int, end: float) -> None:
    assert ESTIMATE["whole"]([1, 3, 6, 4], workers) == end


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenetv1_100"])
def test_networks_are_timed_as_cells_have_them(name: str) -> None:
    timed = ESTIMATE["built_like_cells"](name)
    explained = published(composed("experiment=imagenet", f"model={name}", "model.weights=random", "paths.data=none"))
    strides = [{key: weight.stride() for key, weight in network.named_parameters()} for network in (timed, explained)]
    assert strides[0] == strides[1]
    assert not timed.training


def test_every_network_of_the_experiment_has_measured_passes() -> None:
    forward = pd.read_csv(ESTIMATE["FORWARD"], index_col="model")
    assert forward.index.tolist() == ESTIMATE["networks"]()
    assert forward.columns.tolist() == KINDS
    assert (forward > 0).all(axis=None)
    assert (forward[GRADIENT] > forward[FULL]).all()


def test_every_explainer_of_the_experiment_is_counted() -> None:
    counted = pd.read_csv(ESTIMATE["PASSES"], index_col=["model", "explainer"])
    config = ESTIMATE["settings"]()
    budgets = config.scale.data.imagenet.budgets
    assert counted.loc[(ESTIMATE["COUNTED"][0], "rise"), "forward"] == budgets.rise
    assert counted.loc[(ESTIMATE["COUNTED"][0], "integrated_gradients"), "backward"] == budgets.integrated_gradients
    applicable = {
        explainer
        for explainer in ESTIMATE["explainers"]()
        for network in ESTIMATE["COUNTED"]
        if ESTIMATE["request_of"](network, explainer, "paths.data=none").applies
    }
    assert set(counted.index.get_level_values("explainer")) == applicable


def test_a_network_is_timed_in_seconds_per_image() -> None:
    found = ESTIMATE["measure"](["squeezenet1_1"], batch=2, rounds=1)
    assert found.index.tolist() == ["squeezenet1_1"]
    assert found.columns.tolist() == KINDS
    assert ((found > 1e-4) & (found < 10)).all(axis=None)


@pytest.mark.slow
def test_page_shows_what_the_script_prints() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    assert f"<!-- estimate -->\n{ESTIMATE['tables']()}\n<!-- end -->" in page
