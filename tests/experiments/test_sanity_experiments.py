"""Sanity experiments: the explainers of the main experiments with controls, and a run from weights to verdicts."""

from pathlib import Path

import pandas as pd
import pytest
from entry_point import axes
from smoke_runs import axis, composed, finish

from evident.models.training import NetworkSpec
from evident.request import Request

CONTROL = "control/constant"


@pytest.mark.parametrize(("sanity", "main"), [("metrics/mnist", "mnist"), ("metrics/sanity_flowers", "an8flower")])
def test_every_explainer_of_the_main_experiment_is_checked_beside_the_control(sanity: str, main: str) -> None:
    assert set(axis(sanity, "explainer")) == {*axis(main, "explainer"), CONTROL}


def test_no_other_experiment_has_the_control() -> None:
    for experiment in ("an8flower", "an8flower_double_12c", "mnist", "imagenet", "scenicness", "own"):
        assert CONTROL not in axis(experiment, "explainer")


@pytest.mark.parametrize(("experiment", "data"), [("mnist", "mnist"), ("sanity_flowers", "an8flower_single_6c")])
def test_network_of_shuffled_labels_is_that_of_the_data_set_by_itself(experiment: str, data: str) -> None:
    config = composed(f"experiment=metrics/{experiment}", "scale=smoke", "explainer=gradient")
    assert config.data.name == data
    config.data = config.shuffled
    alone = composed(f"data={data}_shuffled", f"model={config.model.name}", "scale=smoke")
    assert NetworkSpec.of(config).identity == NetworkSpec.of(alone).identity


def test_settings_of_the_shuffled_labels_are_part_of_a_cell() -> None:
    first, second = (
        composed("experiment=metrics/mnist", "scale=smoke", "explainer=gradient", f"shuffled.build.seed={seed}")
        for seed in (0, 1)
    )
    assert Request(first).identity != Request(second).identity
    assert "shuffled" not in Request(composed("experiment=mnist", "scale=smoke", "explainer=gradient")).identity


@pytest.mark.slow
def test_run_has_a_verdict_for_every_explainer(tmp_path: Path) -> None:
    names = ("random", CONTROL, "oracle", "gradient", "vebi", "fgvis")
    ended = finish("metrics/sanity_flowers", *axes(explainer=",".join(names)), store=tmp_path)
    table = pd.read_csv(ended.results / "sanity.csv")
    assert set(table["explainer"]) == {name.replace("/", "_") for name in names}
    assert set(table["randomised"]) == {"all layers", "last layer", "one layer", "labels"}
    ignore = table[table["explainer"].isin(["random", "control_constant", "oracle"])]
    assert set(ignore["verdict"]) == {"does not depend"}
    assert ignore["mean"].tolist() == pytest.approx([1] * len(ignore))
    assert table[table["explainer"] == "gradient"]["mean"].max() < 1
    # Three networks: the explained one, its twin, and that of the shuffled labels.
    assert len(list(tmp_path.glob("models/*/DONE"))) == 3
    assert "sanity" in ended.figures()
    assert "\n## Sanity: an8flower_single_6c, flower_net\n" in (ended.results / "table.md").read_text()
