"""Any picture is explained, or refused in one clear line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from entry_point import run, written
from PIL import Image

from evident.errors import UserError
from evident.explain_image import read_picture

RAMP = np.linspace(0, 255, 60 * 40).reshape(40, 60).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "1", "LA", "YCbCr", "HSV"])
def test_every_mode_of_a_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = {"CMYK": "jpg", "YCbCr": "jpg", "HSV": "tif"}.get(mode, "png")
    source = Image.fromarray(RAMP)
    picture = source.convert("RGB").convert(mode) if mode == "HSV" else source.convert(mode)
    if mode == "HSV":
        picture = picture.convert("RGB")
    picture.save(tmp_path / f"picture.{suffix}")
    image = read_picture(tmp_path / f"picture.{suffix}", 16)
    assert image.shape == (3, 16, 16)
    assert image.dtype == torch.float32
    assert 0 <= image.min() < image.max() <= 1


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert torch.allclose(read_picture(tmp_path / "deep.png", 16), read_picture(tmp_path / "grey.png", 16), atol=0.01)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert torch.equal(read_picture(tmp_path / "clear.png", 4), torch.ones(3, 4, 4))


def test_a_dark_picture_of_sixteen_bits_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 200, dtype=np.uint16)).save(tmp_path / "dark.png")
    assert read_picture(tmp_path / "dark.png", 4).max() < 0.01


@pytest.mark.parametrize("top", [1, 255])
def test_floating_point_pictures_go_to_one_or_to_255(tmp_path: Path, top: int) -> None:
    Image.fromarray((RAMP / 255 * top).astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert torch.allclose(read_picture(tmp_path / "float.tif", 16), read_picture(tmp_path / "grey.png", 16), atol=0.01)


def test_a_picture_of_no_numbers_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(UserError, match=r"nan.tif cannot be read .*no number"):
        read_picture(tmp_path / "nan.tif", 4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3000, 2), (640, 480)])
def test_every_shape_becomes_the_networks_square(tmp_path: Path, shape: tuple[int, int]) -> None:
    Image.new("RGB", shape, (10, 20, 30)).save(tmp_path / "shape.png")
    image = read_picture(tmp_path / "shape.png", 28)
    assert torch.allclose(image, torch.tensor([10, 20, 30]).view(3, 1, 1).expand(3, 28, 28) / 255)


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (20_000, 6_000)).save(tmp_path / "huge.png")
    with pytest.raises(UserError, match=r"huge.png cannot be read .*120000000 pixels"):
        read_picture(tmp_path / "huge.png", 28)


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n broken"])
def test_a_broken_picture_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(UserError, match=r"broken.png cannot be read"):
        read_picture(tmp_path / "broken.png", 28)


def test_a_truncated_picture_is_refused_by_name(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1500])
    with pytest.raises(UserError, match=r"half.jpg cannot be read"):
        read_picture(tmp_path / "half.jpg", 28)


def test_a_missing_picture_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"image=.*none.png is not a file"):
        read_picture(tmp_path / "none.png", 28)


def test_the_front_door_explains_a_picture(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "ramp.png")
    picture = f"image={tmp_path / 'ramp.png'}"
    settings = ("task=explain", picture, "model=flower_net", "scale=smoke", "logger=none")
    ended = run(*settings, "explainer=grad_cam", "target=2", store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "results" / "explain" / "ramp_flower_net_grad_cam_class2"
    with Image.open(folder / "heatmap.png") as heatmap, Image.open(folder / "overlay.png") as overlay:
        assert heatmap.size == (112, 112)
        assert overlay.width > 2 * heatmap.width
    prediction = json.loads((folder / "prediction.json").read_text())
    assert prediction["target"]["index"] == 2
    assert len(prediction["best"]) == 5
    assert "evidence" not in prediction
    assert {path.name for path in folder.iterdir()} == {"heatmap.png", "overlay.png", "prediction.json"}
    for bad, told in [("target=6", "use 0 to 5"), ("target=1.0", "use 0 to 5"), ("explainer=oracle", "needs a mask")]:
        ended = run(*settings, bad, store=tmp_path)
        assert ended.returncode == 1
        assert told in ended.stderr
        assert "Traceback" not in ended.stderr


def test_an_explanation_that_is_an_image_comes_with_what_it_leaves_and_its_mask(tmp_path: Path) -> None:
    Image.fromarray(np.stack([RAMP, RAMP.max() - RAMP, RAMP], axis=2)).save(tmp_path / "ramp.png")
    settings = ("task=explain", "model=flower_net", "target=2", "scale=smoke", "logger=none")
    ended = run(*settings, f"image={tmp_path / 'ramp.png'}", "explainer=fgvis", store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "results" / "explain" / "ramp_flower_net_fgvis_class2"
    shown = {}
    for name in ("explanation", "complement", "mask"):
        with Image.open(folder / f"{name}.png") as picture:
            assert (picture.mode, picture.size) == ("RGB", (112, 112))
            shown[name] = np.asarray(picture) / 255
    # Explanation and complement share the image out: m x + (1 - m) r + (1 - m) x + m r = x + r, by a byte's rounding.
    image = read_picture(tmp_path / "ramp.png", 112).permute(1, 2, 0).numpy()
    reference = shown["explanation"] + shown["complement"] - image
    assert np.ptp(reference, axis=(0, 1)).max() <= 4.5 / 255
    mixed = shown["mask"] * image + (1 - shown["mask"]) * reference
    assert np.allclose(mixed, shown["explanation"], atol=4.5 / 255)
    prediction = json.loads((folder / "prediction.json").read_text())
    evidence = prediction["evidence"]
    assert evidence.keys() == {"explanation_probability", "complement_probability", "mask_share"}
    assert evidence["mask_share"] == pytest.approx(shown["mask"].mean(), abs=1 / 255)
    own = prediction["target"]["probability"]
    assert evidence["explanation_probability"] >= 0.9 * own - 1e-6  # what FGVis's search has it keep
    assert 0 <= evidence["complement_probability"] <= 1


def test_an_explainer_that_learns_does_so_once_for_all_pictures(tmp_path: Path) -> None:
    settings = ("task=explain", "model=flower_net", "explainer=vebi", "target=1", "scale=smoke", "logger=none")
    artefacts = []
    for name in ("ramp", "turned"):
        Image.fromarray(RAMP if name == "ramp" else RAMP.T).save(tmp_path / f"{name}.png")
        ended = run(*settings, f"image={tmp_path / name}.png", store=tmp_path)
        assert ended.returncode == 0, ended.stderr
        folder = tmp_path / "results" / "explain" / f"{name}_flower_net_vebi_class1"
        pictures = {path.name for path in folder.iterdir()}
        assert pictures == {"heatmap.png", "overlay.png", "features.png", "prediction.json"}
        features = json.loads((folder / "prediction.json").read_text())["features"]
        shares = [feature["share"] for feature in features]
        assert 1 <= len(features) <= 3
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1
        assert all(re.fullmatch(r"[\w.#/]+:\d+", feature["feature"]) for feature in features)
        artefacts.append(written(tmp_path))
    assert artefacts[0] == artefacts[1]
    assert sum(name.startswith("relevance/") for name in artefacts[0]) == 1


@pytest.mark.real_data
def test_a_network_of_another_data_set_is_explained_on_its_own(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "ramp.png")
    picture = f"image={tmp_path / 'ramp.png'}"
    ended = run("task=explain", picture, "model=mnist_net", "explainer=gradient", "scale=smoke", store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    [written] = (tmp_path / "results" / "explain").glob("ramp_mnist_net_gradient_class*/prediction.json")
    assert json.loads(written.read_text())["data"] == "mnist"
