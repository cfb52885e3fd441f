"""Reading a picture: any mode, size and depth becomes upright RGB; errors name the file; links are followed."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from evident.data.files import Square, files_below, listing
from evident.data.pictures import read_picture, upright_size
from evident.errors import UserError


def pixels(path: Path, size: int) -> torch.Tensor:
    """Return the picture as a data set and `task=explain` read it, (3, size, size) in [0, 1]."""
    return Square(size).image(read_picture(path)) / 255


RAMP = np.linspace(0, 255, 60 * 40).reshape(40, 60).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "1", "LA", "YCbCr", "HSV"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = {"CMYK": "jpg", "YCbCr": "jpg", "HSV": "tif"}.get(mode, "png")
    source = Image.fromarray(RAMP)
    picture = source.convert("RGB").convert(mode) if mode == "HSV" else source.convert(mode)
    if mode == "HSV":
        picture = picture.convert("RGB")
    picture.save(tmp_path / f"picture.{suffix}")
    image = pixels(tmp_path / f"picture.{suffix}", 16)
    assert image.shape == (3, 16, 16)
    assert 0 <= image.min() < image.max() <= 1


def test_sixteen_bit_picture_has_the_brightness_of_its_eight_bit_copy(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert torch.allclose(pixels(tmp_path / "deep.png", 16), pixels(tmp_path / "grey.png", 16), atol=0.01)


def test_dark_sixteen_bit_picture_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 200, dtype=np.uint16)).save(tmp_path / "dark.png")
    assert pixels(tmp_path / "dark.png", 4).max() < 0.01


@pytest.mark.parametrize("top", [1, 255])
def test_floating_point_picture_may_end_at_1_or_255(tmp_path: Path, top: int) -> None:
    Image.fromarray((RAMP / 255 * top).astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert torch.allclose(pixels(tmp_path / "float.tif", 16), pixels(tmp_path / "grey.png", 16), atol=0.01)


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert torch.equal(pixels(tmp_path / "clear.png", 4), torch.ones(3, 4, 4))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3000, 2), (640, 480)])
def test_every_shape_becomes_a_square(tmp_path: Path, shape: tuple[int, int]) -> None:
    Image.new("RGB", shape, (10, 20, 30)).save(tmp_path / "shape.png")
    image = pixels(tmp_path / "shape.png", 28)
    assert torch.allclose(image, torch.tensor([10, 20, 30]).view(3, 1, 1).expand(3, 28, 28) / 255)


def test_picture_with_nan_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(UserError, match=r"nan.tif cannot be read \(it has pixels that are not a number\)"):
        pixels(tmp_path / "nan.tif", 4)


def test_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (20_000, 6_000)).save(tmp_path / "huge.png")
    with pytest.raises(UserError, match=r"huge.png cannot be read \(it has 20000 x 6000 pixels\)"):
        pixels(tmp_path / "huge.png", 28)


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n broken"])
def test_broken_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(UserError, match=r"broken.png cannot be read"):
        pixels(tmp_path / "broken.png", 28)


def test_truncated_picture_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1500])
    with pytest.raises(UserError, match=r"half.jpg cannot be read"):
        pixels(tmp_path / "half.jpg", 28)


def test_missing_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.png is not a file"):
        pixels(tmp_path / "none.png", 28)


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        (RAMP.astype(np.int32) * 257, "I"),
        (RAMP.astype(np.int32) * (2**23), "I"),
        (RAMP.astype(np.int64) * (2**32 // 256), "unsigned"),
    ],
    ids=["sixteen bits in thirty-two", "signed", "unsigned"],
)
def test_integers_of_thirty_two_bits_have_the_brightness_of_bytes(
    tmp_path: Path, values: np.ndarray, mode: str
) -> None:
    stored = values.astype(np.uint32).view(np.int32) if mode == "unsigned" else values
    Image.fromarray(stored).save(tmp_path / "deep.tif")
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert torch.allclose(pixels(tmp_path / "deep.tif", 16), pixels(tmp_path / "grey.png", 16), atol=0.01)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))]
)
def test_tiff_is_turned_once(
    tmp_path: Path, mode: str, compression: str | None, orientation: int, corner: tuple[int, int]
) -> None:
    values = np.zeros((37, 32), dtype=np.uint8)
    values[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "turned.tif"
    Image.fromarray(values).convert(mode).save(file, exif=exif, compression=compression)
    found = np.asarray(read_picture(file))[..., 0]
    assert found.shape == ((32, 37) if orientation > 4 else (37, 32)) == upright_size(file)[::-1]
    assert found[corner] == 255
    assert found.sum() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_is_turned_upright_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    file = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.stack([RAMP, RAMP.T.reshape(RAMP.shape), 255 - RAMP], -1)).save(file, exif=exif)
    with Image.open(file) as picture:
        expected = ImageOps.exif_transpose(picture).convert("RGB")
    assert read_picture(file).tobytes() == expected.tobytes()
    assert upright_size(file) == expected.size


def tagged(kind: int, value: bytes) -> bytes:
    """Return EXIF data with an orientation of any TIFF type: 3 is a short, 2 is text."""
    return b"Exif\0\0II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x0112, kind, 1 + (kind == 2), value, 0)


@pytest.mark.parametrize(
    ("kind", "value", "turned"),
    [(3, b"\6", True), (2, b"6", True), (3, b"\0", False), (3, b"\11", False), (2, b"up", False), (9, b"zzzz", False)],
)
def test_odd_orientation_is_no_reason_to_refuse_a_picture(
    tmp_path: Path, kind: int, value: bytes, turned: bool
) -> None:
    Image.fromarray(RAMP).save(tmp_path / "odd.png", exif=tagged(kind, value.ljust(4, b"\0")))
    assert read_picture(tmp_path / "odd.png").size == ((40, 60) if turned else (60, 40))


def test_damaged_tags_are_no_reason_to_refuse_a_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0  # the orientation, and the resolution as a ratio
    Image.fromarray(RAMP).save(tmp_path / "whole.jpg", exif=exif)
    content = (tmp_path / "whole.jpg").read_bytes()
    assert content.count(b"\x00\x00\x00\x48\x00\x00\x00\x01") == 1
    damaged = content.replace(b"\x00\x00\x00\x48\x00\x00\x00\x01", b"\xff\xff\xff\xff\x00\x00\x00\x00")
    (tmp_path / "damaged.jpg").write_bytes(damaged)
    assert read_picture(tmp_path / "damaged.jpg").tobytes() == read_picture(tmp_path / "whole.jpg").tobytes()


def test_linked_folders_are_entered_once_and_hidden_files_left_out(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set").mkdir()
    for name in ("elsewhere/a.png", "elsewhere/._a.png", "set/b.PNG", "set/note.txt"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    folder = tmp_path / "set"
    assert [path.relative_to(folder).as_posix() for path in files_below(folder, (".png",))] == ["b.PNG", "linked/a.png"]


def test_listing_changes_with_a_file_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "a.png").write_bytes(b"1")
    before = listing(tmp_path / "set", (".png",))
    listing.cache_clear()
    (tmp_path / "elsewhere" / "a.png").write_bytes(b"12")
    assert listing(tmp_path / "set", (".png",)) != before
