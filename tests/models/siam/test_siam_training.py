"""Training in stages: what networks of scenes learn, the parts that each stage trains, and the stored artefact."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pytorch_lightning import Trainer
from samples import quiet_trainer
from scene_world import COLOURS, Scenes, scene_network, world
from torch import Tensor

from evident import cli
from evident.contracts import KnowsTruth
from evident.errors import UserError
from evident.models import training
from evident.models.fitted import Fitted
from evident.models.flower_net import FlowerNet
from evident.models.siam.network import SIAM
from evident.models.siam.training import SceneTraining
from evident.models.training import NetworkSpec

CONF = ROOT / "conf"
STAGES = {"attributes": 8, "scenicness": 8, "joint": 8}


def trainer(**settings: Any) -> Trainer:
    return quiet_trainer(deterministic=True, **settings)


@pytest.fixture(scope="module")
def trained_siam() -> tuple[SIAM, Fitted]:
    network = scene_network()
    assert isinstance(network, SIAM)
    fitted = SceneTraining(STAGES, steps=15, learning_rate=0.01).fit(network, world(), 0, trainer)
    return network.eval(), fitted


def test_siam_learns_scores_and_attributes(trained_siam: tuple[SIAM, Fitted]) -> None:
    _, (measured, _) = trained_siam
    assert measured["test_r2"] > 0.5
    assert measured["test_attribute_precision"] > 0.95
    for split in ("val", "test"):
        scores = {f"{split}_{prefix}{name}" for prefix in ("", "variance_") for name in ("rmse", "mae", "r2", "tau")}
        assert scores | {f"{split}_{colour}_precision" for colour in COLOURS} <= measured.keys()


def test_predictions_for_the_test_scenes_are_returned(trained_siam: tuple[SIAM, Fitted]) -> None:
    network, (measured, predictions) = trained_siam
    splits = world()
    votes, attributes = splits.scenicness.test, splits.attributes.test
    with torch.no_grad():
        torch.testing.assert_close(predictions["scores"], network(votes.images.float() / 255))
        torch.testing.assert_close(predictions["attributes"], network.attributes(attributes.images.float() / 255))
    known = torch.stack([votes.labels["average"], votes.labels["variance"]], 1)
    torch.testing.assert_close(predictions["votes"], known)
    assert torch.equal(predictions["labels"], attributes.labels["attributes"])
    error = predictions["scores"][:, 0] - predictions["votes"][:, 0]
    assert measured["test_mae"] == pytest.approx(error.abs().mean().item())
    assert "true" not in predictions


class KnownScenes(Scenes, KnowsTruth):
    """Scenes whose true scores are their labels."""

    def true_scores(self) -> Tensor:
        return torch.stack([self.labels["average"], self.labels["variance"]], 1)


def test_true_scores_are_returned_with_the_predictions_if_known() -> None:
    splits, settings = world(20), SceneTraining({"joint": 1}, steps=2)
    votes = splits.scenicness
    known = SimpleNamespace(train=votes.train, val=votes.val, test=KnownScenes(votes.test.images, votes.test.labels))
    predictions = settings.fit(scene_network(), replace(splits, scenicness=known), 0, trainer).predictions
    assert torch.equal(predictions["true"], predictions["votes"])


def test_templates_show_which_colours_raise_the_score_and_where(trained_siam: tuple[SIAM, Fitted]) -> None:
    network, _ = trained_siam
    red, green, blue = network.scenicness["average"].kernel()[:, 1:-1].mean(2)
    assert red[:3].mean() > 3 * red[3:].mean().abs()
    assert green.max() < 0
    assert blue.abs().mean() < 0.3 * min(red[:3].mean(), green.mean().abs())


# The data sets that each stage trains on, by network.
SETS = {
    "siam": [("attributes",), ("scenicness",), ("attributes", "scenicness")],
    "unconstrained": [("attributes",), ("scenicness",), ("attributes", "scenicness")],
    "regressor": [("scenicness",)] * 3,
}


class Watch:
    """Replace a factory of trainers: train nothing, and record the calls."""

    def __init__(self) -> None:
        self.fits: list[tuple[str, ...]] = []
        self.trained: list[tuple[str, ...]] = []
        self.epochs: list[int] = []
        self.callback_metrics: dict[str, float] = {"test_r2": 0.5, "joint_val_tau": 0.25, "test_tau": float("nan")}

    def __call__(self, **settings: Any) -> Any:
        self.epochs.append(settings["max_epochs"])
        return self

    def fit(self, stage: Any, loaders: Any, validation: Any) -> None:
        self.fits.append(tuple(loaders.iterables))
        self.trained.append(tuple(stage.trained))
        assert {len(loaded) for loaded in loaders.iterables.values()} == {7}

    def test(self, stage: Any, loaders: Any, verbose: bool) -> None:
        assert len(loaders) == 2


@pytest.mark.parametrize("kind", SETS)
def test_each_stage_trains_on_its_data_sets_for_the_same_steps(kind: str) -> None:
    watch, settings = Watch(), SceneTraining({"joint": 3, "attributes": 1, "scenicness": 2}, steps=7)
    measured = settings.fit(scene_network(kind), world(20), 0, watch).accuracy
    assert watch.fits == SETS[kind]
    assert watch.epochs == [1, 2, 3]
    assert watch.trained[1] == ("scenicness",)
    assert measured == {"val_tau": 0.25, "test_r2": 0.5}
    assert settings.batches(world(20)) == 6 * 7 + 2


def test_training_starts_at_the_mean_scores_and_the_mean_colour() -> None:
    network, splits = scene_network(), world(30)
    SceneTraining({"joint": 1}, steps=7).fit(network, splits, 0, Watch())
    labels = splits.train.labels
    assert network.output_bias().tolist() == pytest.approx(
        [labels["average"].mean().item(), labels["variance"].mean().item()]
    )
    pixels = splits.train.images.float() / 255
    torch.testing.assert_close(network.backbone.normalise.mean.flatten(), pixels.mean((0, 2, 3)))


def test_published_backbones_keep_their_normalisation() -> None:
    network: Any = scene_network()
    network.backbone.weights = "random"
    before = network.backbone.normalise.mean.clone()
    SceneTraining({"joint": 1}, steps=7).fit(network, world(30), 0, Watch())
    assert torch.equal(network.backbone.normalise.mean, before)


@pytest.mark.parametrize("kind", SETS)
def test_frozen_backbone_stays_bit_identical_in_all_stages(kind: str) -> None:
    network = scene_network(kind)
    network.backbone.weights = "random"
    before = {key: value.clone() for key, value in network.state_dict().items()}
    stages = {"attributes": 1, "scenicness": 1, "joint": 1}
    SceneTraining(stages, steps=2, frozen=["backbone"]).fit(network, world(20), 0, trainer)
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {key for key in before if not key.startswith("backbone")}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"stages": {"warm_up": 1}},
            "stages has 'warm_up', which is unknown; use attributes, scenicness, joint",
        ),
        ({"stages": {}}, "data.training.stages={} has no epochs to train; give at least one stage 1 or more"),
        ({"stages": {"joint": 0}}, "data.training.stages={'joint': 0} has no epochs to train"),
        ({"stages": {"joint": 1, "attributes": -1}}, "has no epochs to train; .* and none a negative number"),
        (
            {"stages": {"joint": 1}, "frozen": ["head"]},
            "frozen has 'head', which is unknown; use backbone",
        ),
    ],
)
def test_invalid_stages_or_parts_raise_user_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SceneTraining(steps=1, **settings)


def test_stage_with_only_frozen_parts_raises_user_error() -> None:
    frozen = SceneTraining({"scenicness": 1}, steps=1, frozen=["scenicness"])
    with pytest.raises(UserError, match=r"frozen=\['scenicness'\] leaves nothing to train in the stage scenicness"):
        frozen.fit(scene_network(), world(20), 0, Watch())


def test_stage_of_zero_epochs_is_skipped() -> None:
    watch = Watch()
    SceneTraining({"attributes": 0, "joint": 2}, steps=7).fit(scene_network(), world(20), 0, watch)
    assert watch.epochs == [2]


def test_network_without_scenicness_raises_user_error() -> None:
    with pytest.raises(UserError, match="FlowerNet does not predict scenicness; use model=siam"):
        SceneTraining({"joint": 1}, steps=1).fit(FlowerNet(2), world(20), 0, Watch())


def spec(store: Path, model: str = "siam") -> NetworkSpec:
    """Return a network with a `TinyBackbone`, trained on a data set whose images the tests provide."""
    cli.prepare()
    sizes = ["+data.attributes=3", "data.classes=2", f"paths.store={store}", "scale=smoke", "data.size=24"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", [f"model={model}", *sizes, "+training@scenes=scenes"])
    data = {"name": "squares", "classes": 2, "attributes": 3, "size": 24, "training": composed.scenes}
    composed.data = OmegaConf.create(data)
    composed.model.build.backbone._target_ = "scene_world.TinyBackbone"
    return NetworkSpec.of(composed)


@pytest.mark.parametrize("model", ["siam", "scene_regressor", "unconstrained_attributes"])
def test_network_of_scenes_is_trained_once_and_loaded_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    network = spec(tmp_path, model)
    monkeypatch.setattr(training, "load_data", lambda config: world(30))
    first = training.trained(network, [])
    monkeypatch.setattr(training, "load_data", lambda config: pytest.fail("the data was loaded again"))
    again = training.trained(network, [])
    images = torch.rand(2, 3, 24, 24)
    assert torch.equal(first.network(images), again.network(images))
    assert again.classes == ["average", "variance"]
    [about] = tmp_path.glob("models/*/about.json")
    assert json.loads(about.read_text())["accuracy"] == first.accuracy
    assert training.format_measures(first.accuracy).startswith(f"test R² {first.accuracy['test_r2']:.3f} (RMSE ")


def test_same_seed_gives_bit_identical_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_data", lambda config: world(30))
    states = []
    for name in ("a", "b"):
        torch.rand(3)
        states.append(training.trained(spec(tmp_path / name), []).network.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_measures_of_classifiers_are_formatted_as_percentages() -> None:
    assert training.format_measures({"val": 0.9, "test": 0.98765}) == "98.77% test accuracy"
    assert training.format_measures({"test": 0.5, "test_top5": 0.75}) == "50.00% test accuracy (75.00% in the top 5)"
