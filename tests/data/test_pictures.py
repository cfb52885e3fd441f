"""Reading a picture of the user: any mode, size and depth becomes an RGB square in [0, 1]; errors name the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evident.data.pictures import read_picture
from evident.errors import UserError

RAMP = np.linspace(0, 255, 60 * 40).reshape(40, 60).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "1", "LA", "YCbCr", "HSV"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
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


def test_sixteen_bit_picture_has_the_brightness_of_its_eight_bit_copy(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert torch.allclose(read_picture(tmp_path / "deep.png", 16), read_picture(tmp_path / "grey.png", 16), atol=0.01)


def test_dark_sixteen_bit_picture_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 200, dtype=np.uint16)).save(tmp_path / "dark.png")
    assert read_picture(tmp_path / "dark.png", 4).max() < 0.01


@pytest.mark.parametrize("top", [1, 255])
def test_floating_point_picture_may_end_at_1_or_255(tmp_path: Path, top: int) -> None:
    Image.fromarray((RAMP / 255 * top).astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert torch.allclose(read_picture(tmp_path / "float.tif", 16), read_picture(tmp_path / "grey.png", 16), atol=0.01)


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert torch.equal(read_picture(tmp_path / "clear.png", 4), torch.ones(3, 4, 4))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3000, 2), (640, 480)])
def test_every_shape_becomes_a_square(tmp_path: Path, shape: tuple[int, int]) -> None:
    Image.new("RGB", shape, (10, 20, 30)).save(tmp_path / "shape.png")
    image = read_picture(tmp_path / "shape.png", 28)
    assert torch.allclose(image, torch.tensor([10, 20, 30]).view(3, 1, 1).expand(3, 28, 28) / 255)


def test_picture_with_nan_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(UserError, match=r"nan.tif cannot be read \(it has pixels that are not a number\)"):
        read_picture(tmp_path / "nan.tif", 4)


def test_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (20_000, 6_000)).save(tmp_path / "huge.png")
    with pytest.raises(UserError, match=r"huge.png cannot be read .*120000000 pixels"):
        read_picture(tmp_path / "huge.png", 28)


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n broken"])
def test_broken_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(UserError, match=r"broken.png cannot be read"):
        read_picture(tmp_path / "broken.png", 28)


def test_truncated_picture_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1500])
    with pytest.raises(UserError, match=r"half.jpg cannot be read"):
        read_picture(tmp_path / "half.jpg", 28)


def test_missing_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"image=.*none.png is not a file"):
        read_picture(tmp_path / "none.png", 28)
