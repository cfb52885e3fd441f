"""All stages together: what is learnt is what the world is like, and how it is stored and told."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import LightningModule, Trainer
from scene_world import COLOURS, TinyBackbone, world
from torch import nn

from evident import cli
from evident.errors import UserError
from evident.models import training
from evident.models.fitted import Fitted
from evident.models.flower_net import FlowerNet
from evident.models.siam.baselines import SceneRegressor, UnconstrainedAttributes
from evident.models.siam.network import SIAM
from evident.models.siam.training import SceneTraining

CONF = ROOT / "conf"
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
STAGES = {"attributes": 8, "scenicness": 8, "joint": 8}


def trainer(**settings: Any) -> Trainer:
    return Trainer(accelerator="cpu", deterministic=True, **QUIET, **settings)


def siam(**settings: Any) -> SIAM:
    torch.manual_seed(0)
    return SIAM(TinyBackbone(), len(COLOURS), size=8, border=1, **settings)


@pytest.fixture(scope="module")
def learnt() -> tuple[SIAM, Fitted]:
    network = siam()
    fitted = SceneTraining(STAGES, steps=15, learning_rate=0.01, milestones=[6]).fit(network, world(), 0, trainer)
    return network.eval(), fitted


def test_it_learns_both_tasks(learnt: tuple[SIAM, Fitted]) -> None:
    _, (measured, _) = learnt
    assert measured["test_r2"] > 0.5
    assert measured["test_attribute_precision"] > 0.95
    for split in ("val", "test"):
        scores = {f"{split}_{prefix}{name}" for prefix in ("", "variance_") for name in ("rmse", "mae", "r2", "tau")}
        assert scores | {f"{split}_{colour}_precision" for colour in COLOURS} <= measured.keys()


def test_what_it_says_of_the_test_scenes_is_kept(learnt: tuple[SIAM, Fitted]) -> None:
    network, (measured, predictions) = learnt
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


def test_its_templates_show_what_people_like_and_where(learnt: tuple[SIAM, Fitted]) -> None:
    network, _ = learnt
    red, green, blue = network.scenicness["average"].kernel()[:, 1:-1].mean(2)
    assert red[:3].mean() > 3 * red[3:].mean().abs()
    assert green.max() < 0
    assert blue.abs().mean() < 0.3 * min(red[:3].mean(), green.mean().abs())


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[tuple[str, ...]]]] = {
    "siam": (siam, [("attributes",), ("scenicness",), ("attributes", "scenicness")]),
    "unconstrained": (
        lambda: UnconstrainedAttributes(TinyBackbone(), len(COLOURS), border=1),
        [("attributes",), ("scenicness",), ("attributes", "scenicness")],
    ),
    "regressor": (lambda: SceneRegressor(TinyBackbone()), [("scenicness",)] * 3),
}


class Watch:
    """A factory of trainers that fit nothing, but keep what they were asked for."""

    def __init__(self) -> None:
        self.fits: list[tuple[str, ...]] = []
        self.trained: list[tuple[str, ...]] = []
        self.epochs: list[int] = []
        self.callback_metrics: dict[str, float] = {"test_r2": 0.5, "joint_val_tau": 0.25, "test_tau": float("nan")}

    def __call__(self, **settings: Any) -> "Watch":
        self.epochs.append(settings["max_epochs"])
        return self

    def fit(self, stage: LightningModule, loaders: Any, validation: Any) -> None:
        self.fits.append(tuple(loaders.iterables))
        self.trained.append(tuple(stage.trained))
        assert {len(loaded) for loaded in loaders.iterables.values()} == {7}

    def test(self, stage: LightningModule, loaders: Any, verbose: bool) -> None:
        assert len(loaders) == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_learns_what_it_has_for_as_many_steps(name: str) -> None:
    make, expected = NETWORKS[name]
    watch, settings = Watch(), SceneTraining({"joint": 3, "attributes": 1, "scenicness": 2}, steps=7)
    measured = settings.fit(make(), world(20), 0, watch).accuracy
    assert watch.fits == expected
    assert watch.epochs == [1, 2, 3]
    assert watch.trained[1] == ("scenicness",)
    assert measured == {"val_tau": 0.25, "test_r2": 0.5}
    assert settings.batches(world(20)) == 6 * 7 + 2


def test_scores_begin_at_the_mean_of_the_training_labels_and_colours_at_theirs() -> None:
    network, splits = siam(), world(30)
    SceneTraining({"joint": 1}, steps=7).fit(network, splits, 0, Watch())
    labels = splits.train.labels
    assert network.bias().tolist() == pytest.approx([labels["average"].mean().item(), labels["variance"].mean().item()])
    pixels = splits.train.images.float() / 255
    torch.testing.assert_close(network.backbone.normalise.mean.flatten(), pixels.mean((0, 2, 3)))


def test_published_backbones_keep_their_normalisation() -> None:
    network = siam()
    network.backbone.weights = "random"
    before = network.backbone.normalise.mean.clone()
    SceneTraining({"joint": 1}, steps=7).fit(network, world(30), 0, Watch())
    assert torch.equal(network.backbone.normalise.mean, before)


@pytest.mark.parametrize("make", [make for make, _ in NETWORKS.values()])
def test_a_frozen_backbone_does_not_move_in_any_stage(make: Callable[[], nn.Module]) -> None:
    network: Any = make()
    network.backbone.weights = "random"
    before = {key: value.clone() for key, value in network.state_dict().items()}
    stages = {"attributes": 1, "scenicness": 1, "joint": 1}
    SceneTraining(stages, steps=2, frozen=["backbone"]).fit(network, world(20), 0, trainer)
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {key for key in before if not key.startswith("backbone")}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"stages": {"warm_up": 1}}, "data.training.stages has 'warm_up'; use attributes, scenicness, joint"),
        ({"stages": {}}, "data.training.stages={} are no epochs; give one stage 1 or more"),
        ({"stages": {"joint": 0}}, "data.training.stages={'joint': 0} are no epochs"),
        ({"stages": {"joint": 1, "attributes": -1}}, "are no epochs"),
        ({"stages": {"joint": 1}, "frozen": ["head"]}, "data.training.frozen has 'head'; use backbone"),
    ],
)
def test_unknown_stages_and_parts_are_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        SceneTraining(steps=1, **settings)


def test_a_stage_with_nothing_to_learn_is_named() -> None:
    frozen = SceneTraining({"scenicness": 1}, steps=1, frozen=["scenicness"])
    with pytest.raises(UserError, match=r"frozen=\['scenicness'\] leaves the stage scenicness nothing to learn"):
        frozen.fit(siam(), world(20), 0, Watch())


def test_a_stage_of_no_epochs_is_left_out() -> None:
    watch = Watch()
    SceneTraining({"attributes": 0, "joint": 2}, steps=7).fit(siam(), world(20), 0, watch)
    assert watch.epochs == [2]


def test_a_network_of_anything_else_is_named() -> None:
    with pytest.raises(UserError, match="FlowerNet predicts no scenicness; use model=siam"):
        SceneTraining({"joint": 1}, steps=1).fit(FlowerNet(2), world(20), 0, Watch())


def config(store: Path, model: str = "siam") -> DictConfig:
    cli.prepare()
    sizes = ["+data.attributes=3", "data.classes=2", f"paths.store={store}", "scale=smoke", "data.size=24"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", [f"model={model}", *sizes, "+training@scenes=scenes"])
    data = {"name": "squares", "classes": 2, "attributes": 3, "size": 24, "training": composed.scenes}
    composed.data = OmegaConf.create(data)
    composed.model.build.backbone._target_ = "scene_world.TinyBackbone"
    return composed


@pytest.mark.parametrize("model", ["siam", "scene_regressor", "unconstrained_attributes"])
def test_a_network_of_scenes_is_an_artefact_like_any_other(tmp_path: Path, model: str) -> None:
    settings = config(tmp_path, model)
    first = training.trained(settings, partial(world, 30), [])
    again = training.trained(settings, partial(pytest.fail, "the data was loaded again"), [])
    images = torch.rand(2, 3, 24, 24)
    assert torch.equal(first.network(images), again.network(images))
    assert again.classes == ["average", "variance"]
    [about] = tmp_path.glob("models/*/about.json")
    assert json.loads(about.read_text())["accuracy"] == first.accuracy
    assert training.told(first.accuracy).startswith(f"test R² {first.accuracy['test_r2']:.3f} (RMSE ")


def test_the_same_seed_gives_the_same_network(tmp_path: Path) -> None:
    states = []
    for name in ("a", "b"):
        torch.rand(3)
        states.append(training.trained(config(tmp_path / name), partial(world, 30), []).network.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_what_is_said_of_classifiers_has_not_changed() -> None:
    assert training.told({"val": 0.9, "test": 0.98765}) == "98.77% test accuracy"
    assert training.told({"test": 0.5, "test_top5": 0.75}) == "50.00% test accuracy (75.00% in the top 5)"
