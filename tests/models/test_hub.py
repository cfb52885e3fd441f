"""Networks of timm and of transformers, from local folders: names, colours, weights, and a transformer compared."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from entry_point import ROOT, run
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image
from safetensors.torch import load_file, save_file
from samples import huggingface_vit, smooth_noise

from evident import cli
from evident.data.class_names import names_of
from evident.errors import UserError
from evident.models import training
from evident.models.hugging_face import HuggingFaceClassifier
from evident.models.normalise import mean_colour
from evident.models.pretrained import TimmClassifier, weights_of
from evident.request import Request

NAMES = ["cat", "dog", "eel"]
COLOURS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a network as `save_pretrained` does, with the names of its classes and its colours."""
    torch.manual_seed(0)
    network = huggingface_vit(len(NAMES), 64)
    network.config.id2label = dict(enumerate(NAMES))
    network.save_pretrained(tmp_path / "animals")
    (tmp_path / "animals" / "preprocessor_config.json").write_text(json.dumps(COLOURS))
    return tmp_path / "animals"


def config(store: Path, *overrides: str) -> DictConfig:
    cli.prepare()
    picture = store / "pictures" / "cat" / "a.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (70, 90)).save(picture)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        own = ["experiment=own", "explainer=gradient", f"data.root={picture.parents[1]}", f"paths.store={store}"]
        return compose("config", [*own, *overrides])


def huggingface(folder: Path) -> tuple[str, ...]:
    return (
        "model=huggingface",
        f"model.build.architecture={folder}",
        "model.layer=network.vit.layers.1.layernorm_before",
    )


def test_network_of_transformers_has_its_weights_names_and_colours(folder: Path, tmp_path: Path) -> None:
    given = config(tmp_path, *huggingface(folder), "data.size=64")
    assert given.model.name == "animals"
    trained = training.ready(Request(given).network)
    assert list(trained.classes) == NAMES
    network: Any = trained.network
    assert mean_colour(network).flatten().tolist() == pytest.approx(COLOURS["image_mean"])
    torch.manual_seed(0)
    own = huggingface_vit(len(NAMES), 64)  # as the folder's
    images = smooth_noise(size=64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in COLOURS.values())
    expected = own.eval()(pixel_values=(images - mean) / std).logits
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)


def test_changed_weights_are_another_network(folder: Path, tmp_path: Path) -> None:
    before = Request(config(tmp_path, *huggingface(folder), "data.size=64")).folder
    state = load_file(folder / "model.safetensors")
    state["classifier.bias"] += 1
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    assert Request(config(tmp_path, *huggingface(folder), "data.size=64")).folder != before


def test_size_of_the_network_is_asked_for(folder: Path, tmp_path: Path) -> None:
    given = Request(config(tmp_path, *huggingface(folder)))
    with pytest.raises(UserError, match=r"animals does not accept images of 224 x 224 pixels .* set data.size"):
        training.ready(given.network)


@pytest.mark.parametrize(
    "stated",
    [
        None,
        {"do_rescale": True},
        {**COLOURS, "rescale_factor": 1.0},
        {**COLOURS, "do_rescale": False},
        {**COLOURS, "do_flip_channel_order": True},
        {**COLOURS, "image_processor_type": "EfficientNetImageProcessor"},
    ],
)
def test_unclear_colours_are_refused_and_can_be_given(folder: Path, stated: Any) -> None:
    file = folder / "preprocessor_config.json"
    file.unlink() if stated is None else file.write_text(json.dumps(stated))
    with pytest.raises(UserError, match=r"does not say that colours .* add \+model.build.mean"):
        HuggingFaceClassifier(str(folder), 3)
    network = HuggingFaceClassifier(str(folder), 3, mean=[0.5] * 3, std=[0.25] * 3)
    assert mean_colour(network).flatten().tolist() == [0.5] * 3


def test_network_without_a_trained_classifier_is_refused(folder: Path, tmp_path: Path) -> None:
    state = {name: value for name, value in load_file(folder / "model.safetensors").items() if "classifier" not in name}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    given = Request(config(tmp_path, *huggingface(folder), "data.size=64"))
    with pytest.raises(UserError, match=r"lacks 2 weights of ViTForImageClassification, first classifier.bias"):
        training.ready(given.network)


def test_network_of_half_precision_is_converted(folder: Path, tmp_path: Path) -> None:
    huggingface_vit(len(NAMES), 64).half().save_pretrained(folder)
    network = training.ready(Request(config(tmp_path, *huggingface(folder), "data.size=64")).network).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_folder_of_a_user_is_no_cache_of_the_hub(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "snapshots" / "best"
    own.parent.mkdir()
    folder.rename(own)
    assert weights_of("none", str(own), "huggingface").startswith("folder ")


def test_classes_without_names_of_their_own_are_numbered(tmp_path: Path) -> None:
    huggingface_vit(2, 64).save_pretrained(tmp_path)
    assert names_of(str(tmp_path / "config.json")) == ("LABEL_0", "LABEL_1")
    stated = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**stated, "id2label": {"0": "crane", "1": "crane"}}))
    assert names_of(str(tmp_path / "config.json")) == ("crane (0)", "crane (1)")


def test_network_that_does_not_normalise_has_black_as_neutral_colour(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({**COLOURS, "do_normalize": False}))
    assert mean_colour(HuggingFaceClassifier(str(folder), 3)).flatten().tolist() == [0, 0, 0]


def test_what_is_no_network_of_transformers_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 3 classes, the data 4"):
        HuggingFaceClassifier(str(folder), 4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is no image classifier of transformers"):
        HuggingFaceClassifier(str(tmp_path / "empty"), 3)


def test_code_of_a_repository_is_never_run(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.py").write_text("raise SystemExit('the code was run')")
    stated = json.loads((folder / "config.json").read_text())
    stated |= {
        "model_type": "other",
        "auto_map": {"AutoConfig": "bad.Config", "AutoModelForImageClassification": "bad.Net"},
    }
    (folder / "config.json").write_text(json.dumps(stated))
    with pytest.raises(UserError, match="is no image classifier of transformers"):
        HuggingFaceClassifier(str(folder), 3)


def test_hub_without_a_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UserError, match=r"a/b is no folder, and could not be downloaded from the hub \(no route\)"):
        weights_of("none", "a/b", "huggingface")


def test_hub_networks_are_named_by_their_commit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    cached = tmp_path / "snapshots" / "5dca96d"
    cached.parent.mkdir()
    folder.rename(cached)
    asked: list[Any] = []

    def download(name: str, revision: str, **_: Any) -> str:
        asked.append((name, revision))
        return str(cached)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert weights_of("none", "a/b", "huggingface", "v1") == "hub 5dca96d"
    assert HuggingFaceClassifier("a/b", 3, "v1").folder == cached
    assert asked == [("a/b", "v1")]  # once in a process


@pytest.mark.parametrize("library", ["timm", "transformers", "huggingface_hub"])
def test_missing_library_is_one_line(library: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    network: Any = TimmClassifier if library == "timm" else HuggingFaceClassifier
    architecture = {"timm": "resnet18", "transformers": str(folder), "huggingface_hub": "a/b"}[library]
    with pytest.raises(UserError, match=r"not installed; run pip install '.\[hub\]'"):
        network(architecture, 3)


def test_network_of_timm_comes_from_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = timm.create_model("resnet18", num_classes=3)
    (tmp_path / "net").mkdir()
    timm.models.save_for_hf(own, str(tmp_path / "net"), safe_serialization=True)
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    architecture = f"model.build.architecture='local-dir:{tmp_path}/net'"
    given = config(tmp_path, "model=timm", architecture, f"model.names={tmp_path}/names.json", "data.size=64")
    assert given.model.weights.startswith("folder ")
    trained = training.ready(Request(given).network)
    assert list(trained.classes) == NAMES
    images = smooth_noise(size=64)
    expected = own.eval()((images - mean_colour(trained.network)) / trained.network.normalise.std)
    torch.testing.assert_close(trained.network(images), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_transformer_is_compared_and_what_does_not_apply_is_left_out(folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    for name in ("cat", "dog"):
        (pictures / name).mkdir(parents=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / name / "a.png")
    explainers = "random,grad_cam,attention_rollout,attention_relevance,deep_lift,lrp,excitation_backprop"
    ended = run(
        "task=compare", f"images={pictures}", *huggingface(folder), f"explainer={explainers}", "scale=smoke",
        "data.size=64", "data.build.resize=64", "logger=none", store=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    results = tmp_path / "results" / "compare"
    table = pd.read_csv(results / "table.csv")
    assert set(table["explainer"]) == {"random", "grad_cam", "attention_rollout", "attention_relevance"}
    assert set(table["model"]) == {"animals"}
    for text in ((results / "table.md").read_text(), (results / "index.html").read_text()):
        assert "Left out" in text
        assert "LRP has no rule for" in text
        assert "excitation backpropagation has no rule for attention" in text
    assert "deep_lift seed 0: left out: DeepLift has no rule for" in ended.stderr
    outcomes = pd.read_csv(results / "outcomes.csv")
    assert set(outcomes["label"]) == {"cat", "dog"}
    # With what applies left out by the user, there is nothing to show.
    ended = run(
        "task=compare", f"images={pictures}", *huggingface(folder), "explainer=lrp", "scale=smoke", "data.size=64",
        "data.build.resize=64", "logger=none", store=tmp_path / "other",
    )  # fmt: skip
    assert ended.returncode == 1
    assert "no explainer applies to the network" in ended.stderr
