"""`task=explain`: the files that explain one picture, and refusals in one line."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from entry_point import run, written
from PIL import Image

from evident.data.files import Square
from evident.data.pictures import read_picture

RAMP = np.linspace(0, 255, 60 * 40).reshape(40, 60).astype(np.uint8)
GENERAL = {"heatmap.png", "overlay.png", "prediction.json"}


def settings(picture: Path, *overrides: str) -> list[str]:
    return ["task=explain", f"image={picture}", "scale=smoke", "logger=none", *overrides]


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def prediction_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "prediction.json").read_text())


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """Save a grey ramp and return its path."""
    Image.fromarray(RAMP).save(tmp_path / "ramp.png")
    return tmp_path / "ramp.png"


def test_explanation_has_prediction_overlay_and_heatmap(ramp: Path, tmp_path: Path) -> None:
    overrides = settings(ramp, "model=flower_net")
    ended = run(*overrides, "explainer=grad_cam", "target=2", store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "results" / "explain" / "ramp_flower_net_grad_cam_class2"
    assert files_in(folder) == GENERAL
    with Image.open(folder / "heatmap.png") as heatmap, Image.open(folder / "overlay.png") as overlay:
        assert heatmap.size == (64, 64)
        assert overlay.width > 2 * heatmap.width
    prediction = prediction_in(folder)
    assert prediction["target"]["index"] == 2
    assert len(prediction["best"]) == 5
    assert {"features", "evidence", "contributions"}.isdisjoint(prediction)
    ended = run(*overrides, "explainer=grad_cam", "target=Petals_turquoise", store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    bad_targets = ("6", "true", "daisy")
    refused = [
        *((f"target={bad}", "use 0 to 5, or a name such as petals red") for bad in bad_targets),
        ("explainer=oracle", "needs a mask"),
    ]
    for bad, message in refused:
        ended = run(*overrides, bad, store=tmp_path)
        assert ended.returncode == 1
        assert message in ended.stderr
        assert "Traceback" not in ended.stderr


def test_fgvis_adds_explanation_complement_and_mask(tmp_path: Path) -> None:
    picture = tmp_path / "ramp.png"
    Image.fromarray(np.stack([RAMP, RAMP.max() - RAMP, RAMP], axis=2)).save(picture)
    ended = run(*settings(picture, "model=flower_net", "explainer=fgvis", "target=2"), store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "results" / "explain" / "ramp_flower_net_fgvis_class2"
    assert files_in(folder) == GENERAL | {"explanation.png", "complement.png", "mask.png"}
    saved = {}
    for name in ("explanation", "complement", "mask"):
        with Image.open(folder / f"{name}.png") as opened:
            assert (opened.mode, opened.size) == ("RGB", (64, 64))
            saved[name] = np.asarray(opened) / 255
    # With mask m and reference r: m x + (1 - m) r + (1 - m) x + m r = x + r, up to rounding to bytes.
    image = Square(64).image(read_picture(picture)).permute(1, 2, 0).numpy() / 255
    reference = saved["explanation"] + saved["complement"] - image
    assert np.ptp(reference, axis=(0, 1)).max() <= 4.5 / 255
    mixed = saved["mask"] * image + (1 - saved["mask"]) * reference
    assert np.allclose(mixed, saved["explanation"], atol=4.5 / 255)
    prediction = prediction_in(folder)
    evidence = prediction["evidence"]
    assert evidence.keys() == {"explanation_probability", "complement_probability", "mask_share"}
    assert evidence["mask_share"] == pytest.approx(saved["mask"].mean(), abs=1 / 255)
    # The preservation game keeps nine tenths of the probability.
    assert evidence["explanation_probability"] >= 0.9 * prediction["target"]["probability"] - 1e-6
    assert 0 <= evidence["complement_probability"] <= 1


def test_vebi_adds_features_and_learns_them_once_for_all_pictures(ramp: Path, tmp_path: Path) -> None:
    Image.fromarray(RAMP.T).save(tmp_path / "turned.png")
    artefacts = []
    for picture in (ramp, tmp_path / "turned.png"):
        ended = run(*settings(picture, "model=flower_net", "explainer=vebi", "target=1"), store=tmp_path)
        assert ended.returncode == 0, ended.stderr
        folder = tmp_path / "results" / "explain" / f"{picture.stem}_flower_net_vebi_class1"
        assert files_in(folder) == GENERAL | {"features.png"}
        features = prediction_in(folder)["features"]
        shares = [feature["share"] for feature in features]
        assert 1 <= len(features) <= 3
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1
        assert all(re.fullmatch(r"[\w.#/]+:\d+", feature["feature"]) for feature in features)
        artefacts.append(written(tmp_path))
    assert artefacts[0] == artefacts[1]
    assert sum(name.startswith("relevance/") for name in artefacts[0]) == 1


def test_siam_adds_contributions_by_attribute_and_their_figure(ramp: Path, tmp_path: Path) -> None:
    ended = run(*settings(ramp, "model=siam", "explainer=siam"), store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "results" / "explain" / "ramp_siam_siam_class0"
    assert files_in(folder) == GENERAL | {"explanation.png"}
    prediction = prediction_in(folder)
    assert prediction["target"] == {"index": 0, "class": "average", "score": prediction["scores"]["average"]}
    sizes = [abs(value) for value in prediction["contributions"].values()]
    assert len(sizes) == 29
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.real_data
def test_network_gets_its_own_data_set(ramp: Path, tmp_path: Path) -> None:
    ended = run(*settings(ramp, "model=mnist_net", "explainer=gradient"), store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    [folder] = (tmp_path / "results" / "explain").glob("ramp_mnist_net_gradient_class*")
    assert prediction_in(folder)["data"] == "mnist"
