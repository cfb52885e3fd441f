"""`experiment=own`: a folder of the user under several explainers, with the metrics that its files allow."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from entry_point import ROOT, axes, run
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from evident import cell, cli
from evident.errors import UserError
from evident.quoting import quoted

SMALL = ("scale=smoke", "data.size=64", "data.build.resize=64")
SETTINGS = ("experiment=own", "model.weights=random", "logger=none", *SMALL)
FEW = axes(explainer="random,gradient")
FOLDERS = ("tench (fish)", "it's [mine]; 50%, #1={é}")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write pictures of two class folders, of which the network knows none, with equal file names and awkward ones."""
    root = tmp_path_factory.mktemp("own") / "my pictures"
    draws = np.random.default_rng(0)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
        for name in ("IMG(1).png", "a, b & <i>.jpg"):
            Image.fromarray(draws.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(root / folder / name)
    return root


def test_folder_is_explained_and_scored_without_masks(pictures: Path, tmp_path: Path) -> None:
    ended = run(*SETTINGS, *FEW, f'data.root="{pictures}"', store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "2 of 2 class folders" in ended.stderr
    assert "metric pointing_game needs masks, which this data set does not have: left out" in ended.stderr
    table = pd.read_csv(tmp_path / "results" / "own" / "table.csv")
    assert set(table["explainer"]) == {"random", "gradient"}
    assert (table.loc[table["metric"] == "gini", "n"] == 4).all()
    assert set(table["data"]) == {"my pictures"}
    assert not {"pointing_game", "mass_accuracy"} & set(table["metric"])
    page = (tmp_path / "results" / "own" / "index.html").read_text()
    assert "<i>.jpg" not in page


def test_method_that_needs_masks_is_left_out_once(pictures: Path, tmp_path: Path) -> None:
    given = (*SETTINGS, "explainer=random,oracle", f'data.root="{pictures}"')
    for launched in ("hydra/launcher=basic", "hydra/launcher=processes hydra.launcher.n_jobs=0"):
        ended = run(*given, *launched.split(), store=tmp_path)
        assert ended.returncode == 0, ended.stderr
        table = (tmp_path / "results" / "own" / "table.md").read_text()
        assert "on my pictures | Oracle needs masks, which this data set does not have; leave it out |" in table


def test_folder_with_masks_has_the_metrics_of_localisation(pictures: Path, tmp_path: Path) -> None:
    for folder in FOLDERS:
        (pictures / "masks" / folder).mkdir(parents=True)
        mask = Image.new("L", (90, 70))
        mask.paste(255, (20, 20, 50, 50))
        for name in ("IMG(1).png", "a, b & <i>.png"):
            mask.save(pictures / "masks" / folder / name)
    ended = run(*SETTINGS, *FEW, f'data.root="{pictures}"', store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(tmp_path / "results" / "own" / "table.csv")
    scores = table[table["metric"].isin(["pointing_game", "mass_accuracy", "average_precision"])]
    assert len(scores) == 6
    assert scores["mean"].notna().all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), "data.root is not given; add data.root=DIR, a folder of pictures, or of class folders"),
        (("data.root=nowhere",), "data.root=nowhere is not a folder; give a folder of pictures, or of class folders"),
    ],
)
def test_missing_folder_is_refused_in_one_line(tmp_path: Path, overrides: tuple[str, ...], message: str) -> None:
    ended = run(*SETTINGS, *FEW, *overrides, store=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.strip() == message


def compared(*overrides: str) -> DictConfig:
    """Return the config of a single cell with these overrides, at the sizes of these tests."""
    cli.prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", [*quoted(overrides), "explainer=gradient", "model.weights=random", *SMALL])


def test_folder_is_compared_without_yaml_and_the_yaml_is_printed(pictures: Path, tmp_path: Path) -> None:
    one = ("task=compare", f"images={pictures}", "model=mobilenet_v2", "target=tench")
    few = ("explainer=gradient,random", "model.weights=random", "explained.examples=3", "logger=none")
    ended = run(*quoted(one), *few, *SMALL, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    results = tmp_path / "results" / "compare"
    outcomes = pd.read_csv(results / "outcomes.csv")
    assert len(outcomes) == 4
    assert set(outcomes["target"]) == {"tench"}
    assert (outcomes["target_probability"] <= outcomes["probability"]).all()
    assert [file.name for file in results.glob("figures/pictures*")] == ["pictures_001_003.webp"]
    printed = ended.stdout.split("for experiment=mine:\n\n")[1]
    own = tmp_path / "conf" / "experiment" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(printed[: printed.index("\n\n")])
    kept = compared(f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "experiment=mine")
    asked = compared(*one)
    for part in ("data.root", "data.build.resize", "model.name", "metric", "recorder", "explained.target"):
        assert OmegaConf.select(kept, part) == OmegaConf.select(asked, part), part
    assert (kept.explained.examples, kept.data.size, kept.scale.name) == (3, 64, "smoke")
    assert yaml.safe_load(own.read_text())["hydra"]["sweeper"]["params"]["explainer"] == "gradient,random"


NETWORK = """
from torch import nn


class Own(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images):
        return {"scores": self.fc(self.features(images).relu().mean((2, 3))).softmax(1)}
"""


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Write a network of the user and its checkpoint; return the overrides that name them."""
    (tmp_path / "own_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    network = importlib.import_module("own_network").Own(len(FOLDERS))
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "own.ckpt")
    build = ("model=checkpoint", f"model.weights={tmp_path / 'own.ckpt'}", "model.build._target_=own_network.Own")
    return (*build, "model.layer=network.features", "model.own.reference=[0.5,0.5,0.5]")


def test_network_of_the_user_is_explained_and_measured(
    pictures: Path, checkpoint: tuple[str, ...], tmp_path: Path
) -> None:
    settings = ("experiment=own", f'data.root="{pictures}"', *checkpoint, "logger=none", *SMALL)
    few = axes(explainer="gradient,grad_cam")
    ended = run(*settings, *few, store=tmp_path)
    assert ended.returncode == 1
    assert "Own returns a dict with scores; say which part the class scores are: model.own.output=..." in ended.stderr
    ended = run(*settings, *few, "model.own.output=scores", store=tmp_path)
    assert "give model.own.gives=probabilities" in ended.stderr
    right = ("model.own.output=scores", "model.own.gives=probabilities")
    ended = run(*settings, *few, *right, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "test accuracy" in ended.stdout
    table = pd.read_csv(tmp_path / "results" / "own" / "table.csv")
    assert set(table["explainer"]) == {"gradient", "grad_cam"}
    picture = next(pictures.glob("*/*.png"))
    data = ("data=folder", f'data.root="{pictures}"', "logger=none", *SMALL)
    one = ("task=explain", f'image="{picture}"', "explainer=grad_cam")
    explained = run(*one, *data, *checkpoint, *right, store=tmp_path)
    assert explained.returncode == 0, explained.stderr
    assert any(folder in explained.stderr for folder in FOLDERS)


@pytest.mark.parametrize("target", ["-1", "1000", "1.7", "true", "no such class"])
def test_class_that_the_network_does_not_have_is_refused(pictures: Path, tmp_path: Path, target: str) -> None:
    places = (f"paths.store={tmp_path}", f"paths.data={tmp_path}", f"data.root={pictures}")
    config = compared("experiment=own", "logger=none", "raise_errors=true", *places, f"explained.target={target}")
    with pytest.raises(UserError, match=r"explained.target=.* is unknown; use label, .* an index from 0 to 999"):
        cell.run(config)
