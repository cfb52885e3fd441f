"""Photos in their files: how they are framed, batched and split, and what becomes of those that cannot be read."""

import csv
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evident.data.images import loader
from evident.data.scenes.photos import (
    SPLITS,
    PhotoSet,
    Stretch,
    draw,
    fault,
    found,
    readable,
    source_of,
    split,
    split_of,
)
from evident.errors import UserError


def write_photo(path: Path, seed: int = 0, shape: tuple[int, int] = (48, 32)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape[::-1], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def photos(folder: Path, count: int = 6) -> PhotoSet:
    paths = [write_photo(folder / f"{row}.jpg", row) for row in range(count)]
    labels = {"average": torch.arange(count) / 2, "attributes": torch.arange(count * 3).view(count, 3)}
    return PhotoSet(paths, Stretch(20, 16), labels, [f"photo {row}" for row in range(count)])


def break_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize("shape", [(640, 480), (300, 700), (500, 500), (20, 90)])
def test_a_photo_is_stretched_to_a_square_of_which_the_centre_is_taken(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = write_photo(tmp_path / "a.png", shape=shape)
    with Image.open(path) as picture:
        whole = np.array(picture.resize((500, 500), Image.Resampling.BILINEAR))
        framed = Stretch(500, 450).image(picture)
    assert framed.dtype == torch.uint8
    np.testing.assert_array_equal(framed.permute(1, 2, 0).numpy(), whole[25:475, 25:475])


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_every_mode_of_a_photo_becomes_rgb(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGB", (8, 8), (200, 100, 50)).convert(mode)
    assert Stretch(6, 4).image(picture).shape == (3, 4, 4)


def test_a_crop_larger_than_the_photo_is_an_error() -> None:
    with pytest.raises(UserError, match="size=21 pixels are no crop of resize=20; use 1 to 20"):
        Stretch(20, 21)


def test_a_batch_has_images_in_zero_to_one_every_label_and_the_index(tmp_path: Path) -> None:
    held = photos(tmp_path)
    batch = held.__getitems__([4, 1])
    assert batch["image"].shape == (2, 3, 16, 16)
    assert batch["image"].dtype == torch.float32
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert batch["index"].tolist() == [4, 1]
    assert batch["average"].tolist() == [2.0, 0.5]
    assert batch["attributes"].tolist() == [[12, 13, 14], [3, 4, 5]]


def test_a_photo_is_the_same_alone_and_in_any_batch(tmp_path: Path) -> None:
    held = photos(tmp_path)
    together = torch.cat([batch["image"] for batch in loader(held, 4)])
    alone = torch.stack([held[row]["image"] for row in range(len(held))])
    assert torch.equal(together, alone)


def test_photos_are_decoded_when_they_are_asked_for(tmp_path: Path) -> None:
    held = photos(tmp_path)
    (tmp_path / "3.jpg").write_bytes(b"no picture")
    assert len(held) == 6
    held.__getitems__([0, 5])
    with pytest.raises(UserError, match=r"3.jpg is not a readable image .* fetch it again"):
        held[3]


def test_some_of_the_photos_keep_their_names_and_labels(tmp_path: Path) -> None:
    held = photos(tmp_path)
    first = held.first(2)
    assert first.names == ("photo 0", "photo 1")
    chosen = held.rows(torch.tensor([5, 2]))
    assert chosen.names == ("photo 5", "photo 2")
    assert torch.equal(chosen[0]["image"], held[5]["image"])
    assert chosen.labels["average"].tolist() == [2.5, 1.0]
    for count in (0, 7):
        with pytest.raises(UserError, match=f"{count} photos asked for; 1 to 6 are there"):
            held.first(count)


def test_uncropped_photos_have_the_crop_in_their_middle(tmp_path: Path) -> None:
    held = photos(tmp_path)
    whole = held.uncropped()
    assert whole.images.shape == (6, 3, 20, 20)
    assert torch.equal(whole[2]["image"][:, 2:18, 2:18], held[2]["image"])
    assert whole.names == held.names
    assert whole[2]["average"] == held[2]["average"]


def test_photos_are_found_in_whatever_folder_by_name(tmp_path: Path) -> None:
    for name in ("b/7.jpg", "a/b/8.JPG", "a/7.jpg", "9.png"):
        write_photo(tmp_path / name)
    (tmp_path / "votes.csv").write_text("")
    (tmp_path / "a" / ".5.jpg.part").write_text("")
    assert found(tmp_path) == {
        "7": tmp_path / "a" / "7.jpg", "8": tmp_path / "a/b/8.JPG", "9": tmp_path / "9.png"
    }  # fmt: skip


def test_other_files_are_another_source(tmp_path: Path) -> None:
    assert source_of(tmp_path / "none") == "missing"
    sources = set()
    for name, files in {"a": ["1.jpg"], "b": ["1.jpg", "2.jpg"], "c": ["1.jpg", "votes.tsv"]}.items():
        for file in files:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / file).write_text("x")
        sources.add(source_of(tmp_path / name))
    assert len(sources) == 3


def test_the_split_hangs_on_name_and_seed_alone_and_is_eighty_ten_ten() -> None:
    names = [f"sun_{number}" for number in range(20_000)]
    counts = Counter(split_of(name, 0) for name in names)
    assert [counts[name] / 20_000 for name in ("train", "val", "test")] == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    assert split_of("sun_1", 0) == split_of("sun_1", 0)
    assert [split_of(name, 0) for name in names[:100]] != [split_of(name, 1) for name in names[:100]]
    assert np.std([draw(name, 0) for name in names]) == pytest.approx(12**-0.5, abs=0.01)


def test_other_shares_fall_to_the_splits_and_more_training_takes_none_away_from_it() -> None:
    names = [f"sun_{number}" for number in range(20_000)]
    half, most = ({name: split_of(name, 3, shares) for name in names} for shares in ((0.5, 0.1, 0.4), (0.8, 0.1, 0.1)))
    counts = Counter(half.values())
    assert [counts[split] / 20_000 for split in SPLITS] == pytest.approx([0.5, 0.1, 0.4], abs=0.01)
    assert most == {name: split_of(name, 3) for name in names}
    assert {name for name in names if half[name] == "train"} < {name for name in names if most[name] == "train"}
    assert {name for name in names if most[name] == "test"} < {name for name in names if half[name] == "test"}


def test_a_split_without_photos_is_an_error(tmp_path: Path) -> None:
    held = photos(tmp_path, 3)
    train, val, test = split(held, "sun", ["val", "train", "test"])
    assert [part.names for part in (train, val, test)] == [("photo 1",), ("photo 0",), ("photo 2",)]
    with pytest.raises(UserError, match="sun: of 3 photos none falls to val and test; more are needed"):
        split(held, "sun", ["train"] * 3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_photo_that_is_not_whole_has_a_fault(tmp_path: Path, suffix: str) -> None:
    path = write_photo(tmp_path / f"a.{suffix}")
    assert fault(path) is None
    whole = path.read_bytes()
    for size in (0, 1, 20, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:size])
        assert fault(path)
    path.write_text("<html>not found</html>")
    assert "cannot identify" in (fault(path) or "")


def test_photos_that_cannot_be_read_are_left_out_listed_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = photos(tmp_path / "photos")
    break_off(held.paths[1])
    held.paths[4].write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING, "evident"):
        kept = readable(held, "sun", 0.5, tmp_path / "store")
    assert kept.names == tuple(f"photo {row}" for row in (0, 2, 3, 5))
    assert kept.labels["average"].tolist() == [0.0, 1.0, 1.5, 2.5]
    [line] = caplog.messages
    assert line.startswith("sun: 2 of 6 photos cannot be read and are left out: ")
    with open(line.rpartition(": ")[2], newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["file"] for row in listed] == [str(held.paths[1]), str(held.paths[4])]
    assert all(row["reason"] for row in listed)


def test_more_broken_photos_than_allowed_stop_the_run(tmp_path: Path) -> None:
    held = photos(tmp_path / "photos")
    break_off(held.paths[1])
    with pytest.raises(UserError, match=r"sun: 1 of 6 photos cannot be read, more than 10.0%: .*unreadable.csv; fetch"):
        readable(held, "sun", 0.1, tmp_path / "store")
    assert len(readable(held, "sun", 1 / 6, tmp_path / "store")) == 5


def test_all_are_tried_once_and_again_when_a_file_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, tried = photos(tmp_path / "photos"), []

    def counted(path: Path) -> str | None:
        tried.append(path)
        return fault(path)

    monkeypatch.setattr("evident.data.scenes.photos.fault", counted)
    for _ in range(2):
        assert readable(held, "sun", 0.5, tmp_path / "store") is held
    assert sorted(tried) == sorted(held.paths)
    whole = held.paths[2].read_bytes()
    held.paths[2].write_bytes(b"x" * len(whole))
    assert len(readable(held, "sun", 0.5, tmp_path / "store")) == 5
    assert len(tried) == 12
