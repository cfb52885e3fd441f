"""The request of a cell: what is an error, what belongs to an experiment, and what names a result."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from evident import store
from evident.cli import composed
from evident.errors import UserError
from evident.request import Request

RECORDERS = ["scores", "outcomes", "examples", "cost", "sameness"]  # of every explainer
SCENES = ("data=landscapes", "model=siam")


@cache
def _composed(*overrides: str) -> DictConfig:
    return composed("scale=smoke", "logger=none", "paths.data=none", "paths.store=store", *overrides)


def request(*overrides: str, **changes: Any) -> Request:
    """Return the request of a cell; `changes` are values of the composed config, with `__` for a dot."""
    config = _composed(*overrides).copy()
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    return Request(config)


# Errors


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", -1, "seed=-1 is not a whole number of 0 or more"),
        ("seed", 1.5, "seed=1.5 is not a whole number of 0 or more"),
        ("seed", "one", "seed=one is not a whole number of 0 or more"),
        ("threads", 0, "threads=0 is not a whole number of 1 or more"),
        ("explained__batch_size", 0, "explained.batch_size=0 is not a whole number of 1 or more"),
        ("explained__images", -3, "explained.images=-3 is not a whole number of 1 or more"),
        ("explained__images", None, "explained.images=None is not a whole number of 1 or more"),
        ("explained__split", "train", "explained.split=train is unknown; use test or val"),
    ],
)
def test_value_out_of_range_is_an_error_in_one_line(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        request(**{key: value})
    assert str(error.value) == message


@pytest.mark.parametrize("split", ["test", "val"])
def test_both_splits_that_networks_are_not_trained_on_may_be_explained(split: str) -> None:
    assert request(explained__split=split).config.explained.split == split


# Labels


def test_labels_name_the_cell() -> None:
    cell = request("explainer=vebi/top_1", seed=3)
    assert cell.labels == {
        "experiment": "an8flower",
        "data": "an8flower_single_6c",
        "model": "flower_net",
        "explainer": "vebi_top_1",
        "seed": 3,
    }
    assert cell.name == "an8flower_single_6c flower_net vebi_top_1 seed 3"


# Cells that belong to their experiment


@pytest.mark.parametrize(
    ("network", "explainer", "applies"),
    [
        (("data=landscapes", "model=siam"), "siam", True),
        (("data=landscapes", "model=siam"), "cam", False),
        (("data=landscapes", "model=scene_regressor"), "cam", True),
        (("data=landscapes", "model=scene_regressor"), "siam", False),
        (("data=landscapes", "model=siam"), "gradient", True),
        (("model=flower_net",), "siam", False),
        (("model=flower_net",), "gradient", True),
    ],
)
def test_explainers_of_one_kind_of_network_apply_to_these_only(
    network: tuple[str, ...], explainer: str, applies: bool
) -> None:
    assert request(*network, f"explainer={explainer}").applies is applies


@pytest.mark.parametrize(
    ("explainers", "applies"), [({}, True), ({"flower_net": ["vebi"]}, False), ({"siam": ["vebi"]}, True)]
)
def test_explainers_by_model_restrict_the_networks_that_they_name(
    explainers: dict[str, list[str]], applies: bool
) -> None:
    assert request(explainers_by_model=explainers).applies is applies
    assert request("explainer=vebi", explainers_by_model=explainers).applies


def test_explainers_and_seeds_of_one_network_are_left_out_of_that_one_only() -> None:
    assert not request(left_out_by_model={"flower_net": ["gradient"]}).applies
    assert request(left_out_by_model={"flower_net": ["vebi"], "siam": ["gradient"]}).applies
    seeds = {"flower_net": [0, 2], "siam": [1]}
    assert [seed for seed in range(4) if request(seed=seed, seeds_by_model=seeds).applies] == [0, 2]


def test_metric_leaves_out_explainers_and_keeps_the_others() -> None:
    every = set(request().metrics)
    left_out = {"entropy": ["gradient"], "gini": ["vebi"]}
    assert set(request(left_out_by_metric=left_out).metrics) == every - {"entropy"}
    assert set(request("explainer=vebi", left_out_by_metric=left_out).metrics) == every - {"gini"}
    assert request(left_out_by_metric=left_out).folder != request().folder


def test_settings_of_plug_ins_that_are_not_selected_are_left_out_and_named() -> None:
    few = request("experiment=imagenet", "section=[scores]", "metric=[gini]")
    assert set(few.config.section) == {"scores"}
    assert set(few.metrics) == {"gini"}
    assert few.unused == ["metric.perturbation_mean_colour", "metric.perturbation_blur", "section.gallery"]
    assert not request("experiment=imagenet").unused


def test_seeds_of_published_networks_explain_blocks_of_photographs() -> None:
    cells = [request("experiment=imagenet", "scale=day", f"model={model}", seed=seed)
             for model in ("resnet18", "mobilenet_v2") for seed in range(8)]  # fmt: skip
    wanted = [cell for cell in cells if cell.applies]
    assert len({cell.folder for cell in wanted}) == len(wanted) == 8 + 2
    assert len({store.digest(cell.network.identity) for cell in wanted}) == 2
    assert {cell.config.network_seed for cell in wanted} == set(range(8))


def test_metrics_by_data_go_to_their_data_set_only() -> None:
    every = set(request().metrics)
    by_data = {"mnist": ["entropy"]}
    assert set(request(metrics_by_data=by_data).metrics) == every - {"entropy"}
    digits = request("data=mnist", "model=mnist_net", metrics_by_data=by_data)
    assert set(digits.metrics) == {"entropy"}
    assert digits.applies
    # If none of its metrics is asked for, the data set has no cells.
    assert not request("data=mnist", "model=mnist_net", metrics_by_data={"mnist": ["stability"]}).applies


@pytest.mark.parametrize(
    ("explainer", "seeds"), [("rise", [0, 1, 2]), ("integrated_gradients", [0]), ("extremal_perturbation", [0])]
)
def test_fixed_network_has_one_cell_of_an_explainer_without_draws(explainer: str, seeds: list[int]) -> None:
    budgets = [request("experiment=budgets", f"explainer={explainer}", seed=seed) for seed in range(3)]
    assert [cell.config.seed for cell in budgets if cell.applies] == seeds
    # Elsewhere, the seed is that of the network too.
    assert request(f"explainer={explainer}", seed=1).applies


def test_seed_of_the_explainer_leaves_a_fixed_network_as_it_is() -> None:
    first, second = (request("experiment=budgets", "explainer=rise", seed=seed) for seed in (0, 1))
    assert first.network.identity == second.network.identity
    assert first.folder != second.folder
    varied = [request("explainer=rise", seed=seed).network.identity for seed in (0, 1)]
    assert varied[0] != varied[1]


def test_every_budget_is_a_row_of_its_own() -> None:
    rungs = [request("experiment=budgets", "explainer=rise", f"rung='{rung}'") for rung in range(2)]
    assert rungs[0].config.explainer.build.masks < rungs[1].config.explainer.build.masks
    for cell in rungs:
        assert cell.labels["explainer"] == f"rise, {cell.config.explainer.build.masks} masks"


# Recorders


@pytest.mark.parametrize(
    ("overrides", "further"),
    [
        (("explainer=gradient",), []),
        (("explainer=vebi",), ["features"]),
        (("explainer=fgvis",), ["evidence"]),
        ((*SCENES, "explainer=siam"), ["contributions"]),
    ],
)
def test_recorders_apply_to_explainers_that_have_their_product(overrides: tuple[str, ...], further: list[str]) -> None:
    assert list(request(*overrides).recorders) == [*RECORDERS, *further]


def test_without_recorders_nothing_is_recorded() -> None:
    assert list(request(recorder=None).recorders) == []


# What names a result


@pytest.mark.parametrize("further", ["features", "evidence", "contributions", "interpretation"])
def test_identity_does_not_depend_on_recorders_that_do_not_apply(further: str) -> None:
    few = request(f"recorder=[{','.join(RECORDERS)}]")
    assert request(f"recorder=[{','.join([*RECORDERS, further])}]").identity == few.identity
    assert few.folder == request().folder


@pytest.mark.parametrize(("explainer", "further"), [("vebi", "features"), ("fgvis", "evidence")])
def test_identity_depends_on_recorders_that_apply(explainer: str, further: str) -> None:
    few = request(f"explainer={explainer}", f"recorder=[{','.join(RECORDERS)}]")
    assert request(f"explainer={explainer}", f"recorder=[{','.join([*RECORDERS, further])}]").folder != few.folder


def test_identity_depends_on_the_settings_of_recorders_that_apply() -> None:
    recorders = f"recorder=[{','.join([*RECORDERS, 'interpretation'])}]"
    for explainer, differs in {"vebi": True, "gradient": False}.items():
        one, other = (
            request(f"explainer={explainer}", recorders, recorder__interpretation__images=count) for count in (4, 8)
        )
        assert (one.folder != other.folder) is differs


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"threads": 2},
        {"experiment": "other"},
        {"data__name": "other"},
        {"model__name": "other"},
        {"explainer__name": "other"},
        {"explained__images": 2},
        {"explained__split": "val"},
        {"explained__target": "predicted"},
        {"explained__batch_size": 4},
        {"explainer__build__multiply_by_inputs": True},
        {"metric__gini": {"_target_": "evident.metrics.sparsity.gini", "setting": 1}},
        {"data__build__seed": 1},
        {"trainer__precision": 16},
    ],
)
def test_identity_depends_on_what_decides_the_scores(changes: dict[str, Any]) -> None:
    assert request(**changes).folder != request().folder


@pytest.mark.parametrize(
    "changes",
    [
        {"section": {}},
        {"logger": {"csv": {}}},
        {"raise_errors": True},
        {"explainers_by_model": {"siam": ["siam"]}},
        {"left_out_by_model": {"siam": ["siam"]}},
        {"seeds_by_model": {"siam": [1]}},
        {"left_out_by_metric": {"gini": ["siam"]}},
        {"scale__name": "paper"},
        {"explainer__reference_row": True},
        {"paths__data": "elsewhere"},
        {"paths__results": "elsewhere"},
    ],
)
def test_identity_does_not_depend_on_reports_loggers_and_places(changes: dict[str, Any]) -> None:
    assert request(**changes).folder == request().folder


def test_folder_is_in_the_store() -> None:
    one, other = request(), request(paths__store="elsewhere")
    assert one.folder.parent == Path("store/cells")
    assert other.folder == Path("elsewhere/cells") / one.folder.name


def test_derived_data_set_is_part_of_the_cell_and_not_of_its_network() -> None:
    own, derived = request(), request("data=an8flower_composites")
    assert derived.network.identity == own.network.identity
    assert "data" not in own.identity
    assert derived.identity["data"]["name"] == "an8flower_composites"
    assert request("data=an8flower_composites", data__build__seed=1).folder != derived.folder


def test_published_weights_do_not_depend_on_threads_but_their_cells_do() -> None:
    one, other = (request("data=imagenet", "model=vgg16", threads=threads) for threads in (1, 2))
    assert one.network.published
    assert one.network.identity == other.network.identity
    assert one.identity["arithmetic"]["threads"] == 1
    assert one.folder != other.folder
    assert not request().network.published
    assert "arithmetic" not in request().identity
