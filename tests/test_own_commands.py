"""Every command of docs/own.md works as written, on two pictures and untrained networks."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from entry_point import ROOT, axes, run
from PIL import Image
from samples import huggingface_vit
from torchvision.models import resnet18

PAGE = (ROOT / "docs" / "own.md").read_text()
COMMANDS = [
    line.removeprefix("python run.py ")
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith("python run.py ")
]
NETWORK = """
from torchvision.models import resnet18


def Network(num_classes):
    return resnet18(num_classes=num_classes)
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the files that the page names: pictures of two classes, weights, a network and its code."""
    draws = np.random.default_rng(0)
    for name in ("DIR/cat/a.jpg", "DIR/dog/b.jpg", "a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / name)
    torch.manual_seed(0)
    state = resnet18(num_classes=2).state_dict()
    for file in ("own.pth", "own.ckpt"):
        torch.save(state, tmp_path / file)
    (tmp_path / "my_code").mkdir()
    (tmp_path / "my_code" / "module.py").write_text(NETWORK)
    vit = huggingface_vit(2, 64, blocks=12)
    vit.config.id2label = {0: "cat", 1: "dog"}
    vit.save_pretrained(tmp_path / "my_vit")
    (tmp_path / "my_vit" / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    )
    for name, content in re.findall(r"```(?:python|yaml)\n# file: (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    [code] = set(re.findall(r"export PYTHONPATH=(\S+)", PAGE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path / code), os.environ.get("PYTHONPATH", ""))))
    return tmp_path


def in_world(word: str, world: Path) -> str:
    """Return an override with the files of the page replaced by those of the test."""
    key, _, value = word.partition("=")
    word = word.replace("file://", f"file://{world}/")
    return f"{key}={world / value}" if (world / value).exists() else word


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_command_of_the_page_works(command: str, world: Path) -> None:
    given = [in_world(word, world) for word in shlex.split(command)]
    small = ["scale=smoke", "logger=none"]
    if "model=" not in command:
        small += ["model=squeezenet1_1"]
    if "vit_tiny" not in command:  # which takes images of 224 pixels only
        small += ["data.size=64", "data.build.resize=64"] if "task=explain" not in command or "data=" in command else []
    if "model.weights" not in command and "huggingface" not in command:
        small += ["model.weights=random"]
    few = axes(explainer="gradient,grad_cam,attention_rollout") if "experiment=" in command else ()
    if "timm " in command:
        small += ["model.layer=network.layer4"]
    ended = run(*given, *small, *few, store=world / "store")
    assert ended.returncode == 0, ended.stderr
    results = world / "store" / "results"
    if "task=explain" in command:
        [folder] = (results / "explain").iterdir()
        assert {"heatmap.png", "overlay.png", "prediction.json"} <= {file.name for file in folder.iterdir()}
    else:
        [folder] = [place for place in results.iterdir() if place.name != "scores"]
        assert "grad_cam" in set(pd.read_csv(folder / "table.csv")["explainer"])
        assert len(pd.read_csv(folder / "outcomes.csv")["image"].unique()) == 2


def test_page_has_its_commands() -> None:
    assert len(COMMANDS) >= 10
