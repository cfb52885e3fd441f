"""Networks with published weights: every config's code path with random ones, and the real ones where they lie."""

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
from entry_point import ROOT, run
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model, get_model_weights

from evident import cell, cli
from evident.data.imagenet import class_names
from evident.data.images import ImageSet, Splits
from evident.errors import UserError
from evident.explainers.grad_cam import GradCAM
from evident.models import training
from evident.models.normalise import Normalise, mean_colour
from evident.models.pretrained import TorchvisionClassifier, load_weights, weights_of

NAMES = ["alexnet", "googlenet", "mobilenet_v2", "resnet50", "squeezenet1_1", "vgg16"]
every_network = pytest.mark.parametrize("name", NAMES)


def config(tmp_path: Path, *overrides: str) -> DictConfig:
    """A run on SqueezeNet and ImageNet, its data and store below `tmp_path` unless told otherwise."""
    cli.prepare()
    places = [f"paths.store={tmp_path / 'store'}", f"paths.data={tmp_path}"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", ["experiment=imagenet", "scale=smoke", "threads=1", *places, *overrides])


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


def noise(count: int) -> ImageSet:
    pixels = torch.randint(256, (count, 3, 64, 64), generator=torch.Generator().manual_seed(3)).byte()
    return ImageSet(pixels, torch.arange(count), [str(number) for number in range(count)])


def few() -> Splits:
    return Splits(noise(1), noise(1), noise(7), class_names())


def nothing() -> Splits:
    raise AssertionError("the data was loaded")


def test_every_network_of_the_configs_is_tried_here() -> None:
    configs = (ROOT / "conf" / "model").glob("*.yaml")
    published = {file.stem for file in configs if "TorchvisionClassifier" in file.read_text()}
    assert published == set(NAMES)


@every_network
def test_a_network_normalises_first_and_its_layer_has_maps(name: str, tmp_path: Path) -> None:
    model, settings = network(name), config(tmp_path, f"model={name}").model
    assert (settings.name, settings.data) == (name, "imagenet")
    assert next(iter(model.children())) is model.normalise
    torch.testing.assert_close(mean_colour(model).flatten(), torch.tensor([0.485, 0.456, 0.406]))
    images = torch.rand(2, 3, 64, 64)
    assert model(images).shape == (2, 1000)
    assert GradCAM(model, settings.layer).attribute(images, 3).shape == (2, 1, 64, 64)


@every_network
def test_downloaded_weights_give_the_scores_that_torchvision_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random numbers in the place of the download, auxiliary classifiers among them."""
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


def test_weights_in_a_file_go_before_a_download_and_may_be_of_half_precision(tmp_path: Path) -> None:
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


def test_weights_of_which_any_name_or_shape_differs_are_refused(tmp_path: Path) -> None:
    state = squeezenet().network.state_dict()
    weights_file(tmp_path, {name: value for name, value in state.items() if name != "features.0.bias"})
    with pytest.raises(UserError, match=r"do not fit squeezenet1_1: 1 .* features.0.bias is missing and not \(64"):
        load_weights(squeezenet(), "file 0", tmp_path)
    weights_file(tmp_path, {**state, "more": torch.zeros(2)})
    with pytest.raises(UserError, match=r"1 names or shapes differ, more is \(2,\) and not wanted"):
        load_weights(squeezenet(), "file 0", tmp_path)
    weights_file(tmp_path, state)
    with pytest.raises(UserError, match=r"2 names .* classifier.1.bias is \(1000,\) and not \(10,\); .* the data set"):
        load_weights(network("squeezenet1_1", classes=10), "file 0", tmp_path)


def test_a_damaged_or_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"squeezenet1_1.safetensors cannot be read .* choose other model.weights"):
        load_weights(squeezenet(), "file 0", tmp_path)
    file = weights_file(tmp_path, squeezenet().network.state_dict())
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=rf"{file} cannot be read"):
        load_weights(squeezenet(), "file 0", tmp_path)


def test_offline_names_the_network_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", offline)
    with pytest.raises(UserError) as error:
        load_weights(squeezenet(), weights_of(tmp_path, "squeezenet1_1"), tmp_path)
    told = cli.one_line(error.value)
    assert told.startswith("squeezenet1_1: its weights IMAGENET1K_V1 are not on this machine")
    assert str(tmp_path / "weights" / "squeezenet1_1.safetensors") in told
    assert "http" not in told


def test_unknown_networks_and_weights_are_named_with_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"architecture=lenet is no classifier .* alexnet, .*vgg16"):
        TorchvisionClassifier("lenet", 10)
    with pytest.raises(UserError, match=r"model.weights=V9 .* squeezenet1_1; use file, random, IMAGENET1K_V1"):
        load_weights(squeezenet(), "V9", Path("nowhere"))


def test_a_network_of_timm_needs_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"resnet18.a1_in1k is of timm, which is not installed; pip install timm"):
        training.ready(config(tmp_path, "model=timm"), nothing)


def test_a_network_of_timm_gets_its_weights_and_its_own_normalisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create_model(architecture: str, pretrained: bool = False, num_classes: int = 1000) -> nn.Module:
        made = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))
        nn.init.constant_(made[2].weight, 2.0 if pretrained else 0.0)
        made.pretrained_cfg = {"mean": (0.5, 0.25, 0.125), "std": (0.5, 0.5, 0.25)}
        return made

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    settings = config(tmp_path, "model=timm", "model.build.architecture=tiny")
    assert settings.model.name == "tiny"
    model, classes = training.ready(settings, nothing)
    assert mean_colour(model).flatten().tolist() == [0.5, 0.25, 0.125]
    assert next(iter(model.children())) is model.normalise
    assert model.network[2].weight.unique().tolist() == [2.0]
    assert len(classes) == 1000


def test_published_weights_are_measured_and_not_trained(tmp_path: Path) -> None:
    settings = config(tmp_path, "model.weights=random")
    model = training.trained(settings, few, [])
    scores = model.network(few().test.images / 255)
    labels = few().test.labels[:, None]
    best = {"test": (scores.argmax(1, keepdim=True) == labels), "test_top5": (scores.topk(5).indices == labels)}
    assert model.accuracy == {name: pytest.approx(hits.any(1).float().mean().item()) for name, hits in best.items()}
    assert not model.network.training
    [folder] = (tmp_path / "store" / "models").glob("[0-9a-f]*")
    assert model.hash == folder.name
    assert json.loads((folder / "about.json").read_text())["weights"] == model.weights == "random"
    assert not list(folder.glob("*.safetensors"))
    torch.rand(3)  # whatever is drawn must not matter
    again = training.trained(settings, nothing, [])
    assert again.accuracy == model.accuracy
    assert torch.equal(again.network(few().test.images / 255), scores)


def test_a_picture_needs_no_data_set_where_weights_are_published(tmp_path: Path) -> None:
    model, classes = training.ready(config(tmp_path, "model.weights=random"), nothing)
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, len(classes))
    assert classes[0] == "tench"


def test_what_changes_the_weights_or_the_images_changes_the_name(tmp_path: Path) -> None:
    plain = training.identity(config(tmp_path))
    for change in ("model=alexnet", "model.weights=random", "data.build.val=1", "data.build.resize=232"):
        assert training.identity(config(tmp_path, change)) != plain
    weights_file(tmp_path, {"any": torch.zeros(1)})
    assert training.identity(config(tmp_path)) != plain


@pytest.mark.parametrize("change", ["seed=1", "threads=2", "explained.images=1", "explainer=rise"])
def test_what_only_computes_with_the_weights_keeps_the_name(tmp_path: Path, change: str) -> None:
    assert training.identity(config(tmp_path, change)) == training.identity(config(tmp_path))
    # But other scores are other cells.
    assert cell.identity(config(tmp_path, change)) != cell.identity(config(tmp_path))


def test_weights_set_to_null_train_the_network(tmp_path: Path) -> None:
    settings = config(tmp_path, "model.weights=null")
    assert "seed" in training.identity(settings)
    with pytest.raises(UserError, match="data=imagenet trains no network; choose a model that comes with weights"):
        training.trained(settings, nothing, [])


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(("name", "first", "five"), [("squeezenet1_1", 57.5, 79.3), ("mobilenet_v2", 65.5, 88.7)])
def test_real_weights_reach_the_accuracy_that_their_readme_tells(
    tmp_path: Path, name: str, first: float, five: float
) -> None:
    real = f"paths.data={os.environ['EVIDENT_DATA']}"
    settings = config(tmp_path, real, f"model={name}", "data.build.val=0")
    splits = cell.load_data(settings)
    assert len(splits.test) == 600
    accuracy = training.trained(settings, lambda: splits, []).accuracy
    assert 100 * accuracy["test"] == pytest.approx(first, abs=0.5)
    assert 100 * accuracy["test_top5"] == pytest.approx(five, abs=0.5)


@pytest.mark.slow
@pytest.mark.real_data
def test_a_sweep_shows_the_accuracy_before_anything_is_explained(tmp_path: Path) -> None:
    settings = ("experiment=imagenet", "scale=smoke", "logger=none", "data.build.val=590")
    ended = run(*settings, "model=squeezenet1_1", "explainer=oracle,grad_cam", store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    told = r"squeezenet1_1 on 10 images of imagenet: [\d.]+% test accuracy \([\d.]+% in the top 5\)\n"
    assert re.match(told, ended.stderr)
    table = (tmp_path / "results" / "imagenet" / "table.md").read_text()
    assert re.match(r"# imagenet \(smoke\): squeezenet1_1 on imagenet: .*% in the top 5\)\n", table)
    [model] = json.loads((tmp_path / "results" / "imagenet" / "provenance.json").read_text())["models"]
    assert set(model["accuracy"]) == {"test", "test_top5"}
    assert re.fullmatch("file [0-9a-f]{16}", model["weights"])
    for file in tmp_path.glob("cells/*/network.json"):
        assert json.loads(file.read_text())["accuracy"] == model["accuracy"]


@pytest.mark.real_data
def test_the_front_door_explains_a_photograph_by_name(tmp_path: Path) -> None:
    photograph = next((Path(os.environ["EVIDENT_DATA"]) / "imagenet" / "val").glob("*/*_00000001.JPEG"))
    settings = ("task=explain", f"image={photograph}", "model=squeezenet1_1", "explainer=grad_cam", "logger=none")
    ended = run(*settings, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "leatherback turtle" in ended.stderr
    [folder] = (tmp_path / "results" / "explain").glob("*_squeezenet1_1_grad_cam_class34")
    assert np.asarray(Image.open(folder / "heatmap.png")).shape == (224, 224)
    # No images were measured for it.
    assert not (tmp_path / "models").exists()
