"""Networks with published weights: all configs with random weights, and real weights if they are available."""

import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from entry_point import ROOT, axes, run
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.torch import save_file
from samples import training_set
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model, get_model_weights

from evident import cli
from evident.data.imagenet import class_names
from evident.data.images import ImageSplits
from evident.data.loading import load_data
from evident.errors import UserError
from evident.explainers.grad_cam import GradCAM
from evident.models import training
from evident.models.normalise import Normalise, mean_colour
from evident.models.pretrained import TorchvisionClassifier, load_weights, weights_of
from evident.models.training import NetworkSpec
from evident.request import Request

NAMES = ["alexnet", "googlenet", "mobilenet_v2", "resnet18", "resnet50", "squeezenet1_1", "vgg16"]
every_network = pytest.mark.parametrize("name", NAMES)


def config(tmp_path: Path, *overrides: str) -> DictConfig:
    """Return the config of a cell of SqueezeNet on ImageNet, with data and store below `tmp_path`."""
    cli.prepare()
    paths = [f"paths.store={tmp_path / 'store'}", f"paths.data={tmp_path}"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", ["experiment=imagenet", "scale=smoke", "threads=1", *paths, *overrides])


def spec(tmp_path: Path, *overrides: str) -> NetworkSpec:
    return NetworkSpec.of(config(tmp_path, *overrides))


def network(name: str, classes: int = 1000) -> Any:
    build = OmegaConf.load(ROOT / "conf" / "model" / f"{name}.yaml").build
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return instantiate(build, _partial_=True)(classes=classes).eval()


def squeezenet() -> TorchvisionClassifier:
    return network("squeezenet1_1")


def weights_file(tmp_path: Path, state: dict[str, Tensor]) -> Path:
    file = tmp_path / "weights" / "squeezenet1_1.safetensors"
    file.parent.mkdir(exist_ok=True)
    save_file(state, file)
    return file


def splits() -> ImageSplits:
    """Return seven test images."""
    one, seven = (training_set(count, classes=1000, size=64) for count in (1, 7))
    return ImageSplits(one, one, seven, class_names())


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if the network's data set is loaded; a test that needs data replaces `load_data` again."""
    monkeypatch.setattr(training, "load_data", lambda config: pytest.fail("the data was loaded"))


def test_every_network_config_is_tested_here() -> None:
    configs = (ROOT / "conf" / "model").glob("*.yaml")
    published = {file.stem for file in configs if "TorchvisionClassifier" in file.read_text()}
    assert published == set(NAMES)


@every_network
def test_network_normalises_first_and_its_configured_layer_has_maps(name: str, tmp_path: Path) -> None:
    model, settings = network(name), config(tmp_path, f"model={name}").model
    assert (settings.name, settings.data) == (name, "imagenet")
    assert next(iter(model.children())) is model.normalise
    torch.testing.assert_close(mean_colour(model).flatten(), torch.tensor([0.485, 0.456, 0.406]))
    images = torch.rand(2, 3, 64, 64)
    assert model(images).shape == (2, 1000)
    assert GradCAM(model, settings.layer).attribute(images, 3).shape == (2, 1, 64, 64)


@every_network
def test_scores_with_downloaded_weights_equal_those_of_torchvision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights replace the download, including those of auxiliary classifiers."""
    complete = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
    downloaded = get_model(name, weights=None, **complete).state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: downloaded)
    model = network(name)
    source = weights_of(Path("nowhere"), name)
    assert re.fullmatch(rf"IMAGENET1K_V1 {name}-.*[0-9a-f]{{8}}\.pth", source)
    load_weights(model, source, Path("nowhere"))
    theirs = get_model(name, weights="IMAGENET1K_V1").eval()
    preset = get_model_weights(name)["IMAGENET1K_V1"].transforms()
    images = torch.rand(1, 3, 64, 64)
    normalised = Normalise(tuple(preset.mean), tuple(preset.std))(images)
    assert torch.equal(model(images), theirs(normalised))


def test_file_of_weights_takes_precedence_and_may_have_half_precision(tmp_path: Path) -> None:
    given, model = squeezenet().network.state_dict(), network("squeezenet1_1")
    nn.init.zeros_(model.network.classifier[1].weight)
    weights_file(tmp_path, {name: value.half() for name, value in given.items()})
    source = weights_of(tmp_path, "squeezenet1_1")
    assert re.fullmatch("file [0-9a-f]{16}", source)
    load_weights(model, source, tmp_path)
    for name, value in model.network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, given[name].half().float())
    other = tmp_path / "other"
    other.mkdir()
    weights_file(other, given)
    assert weights_of(other, "squeezenet1_1") != source


def test_weights_with_another_name_or_shape_raise_user_error(tmp_path: Path) -> None:
    state = squeezenet().network.state_dict()
    weights_file(tmp_path, {name: value for name, value in state.items() if name != "features.0.bias"})
    with pytest.raises(
        UserError, match=r"does not fit squeezenet1_1: 1 .* features.0.bias, absent in the weights, \(64"
    ):
        load_weights(squeezenet(), "file 0", tmp_path)
    weights_file(tmp_path, {**state, "more": torch.zeros(2)})
    with pytest.raises(UserError, match=r"1 names or shapes differ, first more, \(2,\) .*, absent in the network"):
        load_weights(squeezenet(), "file 0", tmp_path)
    weights_file(tmp_path, state)
    with pytest.raises(UserError, match=r"2 names .* classifier.1.bias, \(1000,\) .* \(10,\) .*; .* the data set"):
        load_weights(network("squeezenet1_1", classes=10), "file 0", tmp_path)


def test_damaged_or_missing_file_of_weights_raises_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"squeezenet1_1.safetensors cannot be read .* use other model.weights"):
        load_weights(squeezenet(), "file 0", tmp_path)
    file = weights_file(tmp_path, squeezenet().network.state_dict())
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=rf"{file} cannot be read"):
        load_weights(squeezenet(), "file 0", tmp_path)


def test_failed_download_names_the_network_and_the_file_to_provide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", offline)
    with pytest.raises(UserError) as error:
        load_weights(squeezenet(), weights_of(tmp_path, "squeezenet1_1"), tmp_path)
    message = cli.one_line(error.value)
    assert message.startswith("model.weights=IMAGENET1K_V1 of squeezenet1_1 is not on this machine")
    assert str(tmp_path / "weights" / "squeezenet1_1.safetensors") in message
    assert "http" not in message


def test_unknown_architecture_or_weights_list_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"architecture=lenet is not a torchvision classifier.* alexnet, .*vgg16"):
        TorchvisionClassifier("lenet", 10)
    with pytest.raises(UserError, match=r"model.weights=V9 .* squeezenet1_1; use one of file, random, IMAGENET1K_V1"):
        load_weights(squeezenet(), "V9", Path("nowhere"))


def test_timm_network_has_its_own_weights_and_normalisation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(architecture: str, pretrained: bool = False, num_classes: int = 1000) -> nn.Module:
        made: Any = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))
        nn.init.constant_(made[2].weight, 2.0 if pretrained else 0.0)
        made.pretrained_cfg = {"mean": (0.5, 0.25, 0.125), "std": (0.5, 0.5, 0.25)}
        return made

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    settings = config(tmp_path, "model=timm", "model.build.architecture=tiny")
    assert settings.model.name == "tiny"
    ready = training.ready(NetworkSpec.of(settings))
    model = ready.network
    assert mean_colour(model).flatten().tolist() == [0.5, 0.25, 0.125]
    assert next(iter(model.children())) is model.normalise
    assert model.network[2].weight.unique().tolist() == [2.0]
    assert len(ready.classes) == 1000


def test_published_weights_are_measured_and_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_weights = spec(tmp_path, "model.weights=random")
    with monkeypatch.context() as patched:
        patched.setattr(training, "load_data", lambda config: splits())
        model = training.trained(random_weights, [])
    scores = model.network(splits().test.images / 255)
    labels = splits().test.labels[:, None]
    best = {"test": (scores.argmax(1, keepdim=True) == labels), "test_top5": (scores.topk(5).indices == labels)}
    assert model.accuracy == {name: pytest.approx(hits.any(1).float().mean().item()) for name, hits in best.items()}
    assert not model.network.training
    [folder] = (tmp_path / "store" / "models").glob("[0-9a-f]*")
    assert model.hash == folder.name
    assert json.loads((folder / "about.json").read_text())["weights"] == model.weights == "random"
    assert not list(folder.glob("*.safetensors"))
    torch.rand(3)  # the state of the global generator must not matter
    again = training.trained(random_weights, [])
    assert again.accuracy == model.accuracy
    assert torch.equal(again.network(splits().test.images / 255), scores)


def test_network_with_published_weights_is_ready_without_a_data_set(tmp_path: Path) -> None:
    ready = training.ready(spec(tmp_path, "model.weights=random"))
    assert ready.network(torch.rand(1, 3, 64, 64)).shape == (1, len(ready.classes))
    assert ready.classes[0] == "tench"


def test_identity_depends_on_weights_and_images(tmp_path: Path) -> None:
    plain = spec(tmp_path).identity
    for change in ("model=alexnet", "model.weights=random", "data.build.val=1", "data.build.resize=232"):
        assert spec(tmp_path, change).identity != plain
    weights_file(tmp_path, {"any": torch.zeros(1)})
    assert spec(tmp_path).identity != plain


@pytest.mark.parametrize("change", ["seed=1", "threads=2", "explained.images=1", "explainer=rise"])
def test_identity_of_the_cell_alone_depends_on_its_computation(tmp_path: Path, change: str) -> None:
    assert spec(tmp_path, change).identity == spec(tmp_path).identity
    assert Request(config(tmp_path, change)).identity != Request(config(tmp_path)).identity


def test_null_weights_need_a_data_set_with_training(tmp_path: Path) -> None:
    untrained = spec(tmp_path, "model.weights=null")
    assert "seed" in untrained.identity
    with pytest.raises(UserError, match="data=imagenet has no training settings; choose a model with"):
        training.trained(untrained, [])


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(("name", "first", "five"), [("squeezenet1_1", 57.5, 79.3), ("mobilenet_v2", 65.5, 88.7)])
def test_real_weights_reach_the_accuracy_in_their_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, first: float, five: float
) -> None:
    real = f"paths.data={os.environ['EVIDENT_DATA']}"
    settings = config(tmp_path, real, f"model={name}", "data.build.val=0")
    images = load_data(settings)
    assert len(images.split("test")) == 600
    monkeypatch.setattr(training, "load_data", lambda config: images)
    accuracy = training.trained(NetworkSpec.of(settings), []).accuracy
    assert 100 * accuracy["test"] == pytest.approx(first, abs=0.5)
    assert 100 * accuracy["test_top5"] == pytest.approx(five, abs=0.5)


@pytest.mark.slow
@pytest.mark.real_data
def test_sweep_logs_the_accuracy_first(tmp_path: Path) -> None:
    settings = ("experiment=imagenet", "scale=smoke", "logger=none", "data.build.val=590")
    ended = run(*settings, *axes(model="squeezenet1_1", explainer="oracle,grad_cam"), store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    first_line = r"squeezenet1_1 on 10 images of imagenet: [\d.]+% test accuracy \([\d.]+% in the top 5\)\n"
    assert re.match(first_line, ended.stderr)
    table = (tmp_path / "results" / "imagenet" / "table.md").read_text()
    assert re.match(r"# imagenet \(smoke\): squeezenet1_1 on imagenet: .*% in the top 5\)\n", table)
    [model] = json.loads((tmp_path / "results" / "imagenet" / "provenance.json").read_text())["models"]
    assert set(model["accuracy"]) == {"test", "test_top5"}
    assert re.fullmatch("file [0-9a-f]{16}", model["weights"])
    for file in tmp_path.glob("cells/*/network.json"):
        assert json.loads(file.read_text())["accuracy"] == model["accuracy"]


@pytest.mark.real_data
def test_task_explain_names_the_class_of_a_photograph(tmp_path: Path) -> None:
    photograph = next((Path(os.environ["EVIDENT_DATA"]) / "imagenet" / "val").glob("*/*_00000001.JPEG"))
    settings = ("task=explain", f"image={photograph}", "model=squeezenet1_1", "explainer=grad_cam", "logger=none")
    ended = run(*settings, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "leatherback turtle" in ended.stderr
    [folder] = (tmp_path / "results" / "explain").glob("*_squeezenet1_1_grad_cam_class34")
    assert np.asarray(Image.open(folder / "heatmap.png")).shape == (224, 224)
    # The accuracy of the network was not measured.
    assert not (tmp_path / "models").exists()
