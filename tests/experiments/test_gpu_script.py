"""The script for a machine with a GPU: what it refuses, and what it says where something is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from entry_point import ROOT

WEIGHTS = ("resnet50", "vit_tiny_patch16_224", "squeezenet1_1")


def script(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(root / "experiments" / "gpu.sh"), *arguments]
    environment = {**os.environ, "PYTHON": sys.executable, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "imagenet" / "val").mkdir(parents=True)
    (folder / "weights").mkdir()
    for name in ("imagenet/boxes.csv", "imagenet/synsets.txt", *(f"weights/{name}.safetensors" for name in WEIGHTS)):
        (folder / name).write_text("")
    return folder


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Return a packed folder with nothing but the script, and a Python that has every package."""
    (tmp_path / "pack" / "project" / "experiments").mkdir(parents=True)
    (tmp_path / "pack" / "wheels").mkdir()
    shutil.copy(ROOT / "experiments" / "gpu.sh", tmp_path / "pack" / "project" / "experiments")
    (tmp_path / "pack" / "weights.tar.xz").write_text("")
    return tmp_path / "pack"


def python(folder: Path, content: str) -> str:
    file = folder / "python"
    file.write_text(f"#!/bin/bash\n{content}\n")
    file.chmod(0o755)
    return str(file)


def test_help_lists_every_variable() -> None:
    shown = script(ROOT)
    assert shown.returncode == 2
    words = ("OUT", "WORK", "JOBS", "SCALE", "LIMIT_S", "TESTS_S", "RESNET_S", "VIT_S")
    assert all(f"#   {word}" in shown.stdout or f", {word}" in shown.stdout for word in words)
    assert "set -euo" not in shown.stdout


def test_missing_weights_are_named(data: Path, tmp_path: Path) -> None:
    (data / "weights" / "resnet50.safetensors").unlink()
    failed = script(ROOT, "pack", str(tmp_path / "pack"), EVIDENT_DATA=str(data))
    assert failed.returncode == 1
    assert f"EVIDENT_DATA={data} has no weights/resnet50.safetensors" in failed.stderr


def test_a_folder_of_the_user_is_not_replaced(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    failed = script(ROOT, "pack", str(tmp_path / "mine"), EVIDENT_DATA=str(data))
    assert failed.returncode == 1
    assert "was not made by this script" in failed.stderr
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_changes_that_are_not_committed_are_not_packed(data: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "experiments", tmp_path / "project" / "experiments")
    (tmp_path / "project" / "COMMIT").write_text("changed")
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "project")], check=True)
    failed = script(tmp_path / "project", "pack", str(tmp_path / "pack"), EVIDENT_DATA=str(data))
    assert failed.returncode == 1
    assert "only what is committed travels" in failed.stderr


def test_run_outside_a_packed_folder_says_how_to_make_one(packed: Path) -> None:
    (packed / "weights.tar.xz").unlink()
    failed = script(packed / "project", "run")
    assert failed.returncode == 1
    assert "make a folder with experiments/gpu.sh pack FOLDER" in failed.stderr


def test_a_package_without_a_wheel_is_named(packed: Path) -> None:
    failed = script(packed / "project", "run", PYTHON=python(packed, "echo captum"))
    assert failed.returncode == 1
    assert "captum is not installed" in failed.stderr


def test_packed_code_has_what_the_gpu_tests_read() -> None:
    listed = (ROOT / "experiments" / "gpu.sh").read_text().partition("\ncode=(")[2].partition(")")[0].split()
    assert {"src", "conf", "tests", "docs", "experiments", "COMMIT", "pyproject.toml"} <= set(listed)
    assert all((ROOT / name).exists() for name in listed)


def test_wheels_have_exact_versions() -> None:
    text = (ROOT / "experiments" / "gpu.sh").read_text()
    names = text.partition("\nwheels=(")[2].partition(")")[0].split()
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().split()}
    assert names
    assert set(names) <= pinned
