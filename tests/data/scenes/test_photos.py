"""Photos in files: cropping, batches, splits, and photos that cannot be decoded."""

import csv
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evident.data.files import Stretch
from evident.data.images import loader
from evident.data.pictures import decoding_error
from evident.data.scenes.photos import (
    PhotoSet,
    drop_unreadable,
    find_photos,
    partition,
    source_of,
    split_of,
    uniform_hash,
)
from evident.data.scenes.splits import SPLITS
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
    """Remove the last 300 bytes of the file."""
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize("shape", [(640, 480), (300, 700), (500, 500), (20, 90)])
def test_photo_is_stretched_to_a_square_and_cropped_to_the_centre(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = write_photo(tmp_path / "a.png", shape=shape)
    with Image.open(path) as picture:
        whole = np.array(picture.resize((500, 500), Image.Resampling.BILINEAR))
        framed = Stretch(500, 450).image(picture)
    assert framed.dtype == torch.uint8
    np.testing.assert_array_equal(framed.permute(1, 2, 0).numpy(), whole[25:475, 25:475])


def test_crop_larger_than_the_photo_is_a_user_error() -> None:
    with pytest.raises(UserError, match="size=21 pixels cannot be cropped from resize=20; use 1 to 20"):
        Stretch(20, 21)


def test_batch_has_images_in_zero_to_one_all_labels_and_the_index(tmp_path: Path) -> None:
    photo_set = photos(tmp_path)
    batch = photo_set.__getitems__([4, 1])
    assert batch["image"].shape == (2, 3, 16, 16)
    assert batch["image"].dtype == torch.float32
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert batch["index"].tolist() == [4, 1]
    assert batch["average"].tolist() == [2.0, 0.5]
    assert batch["attributes"].tolist() == [[12, 13, 14], [3, 4, 5]]


def test_photo_is_the_same_alone_and_in_any_batch(tmp_path: Path) -> None:
    photo_set = photos(tmp_path)
    together = torch.cat([batch["image"] for batch in loader(photo_set, 4)])
    alone = torch.stack([photo_set[row]["image"] for row in range(len(photo_set))])
    assert torch.equal(together, alone)


def test_photos_are_decoded_on_access(tmp_path: Path) -> None:
    photo_set = photos(tmp_path)
    (tmp_path / "3.jpg").write_bytes(b"no picture")
    assert len(photo_set) == 6
    photo_set.__getitems__([0, 5])
    with pytest.raises(UserError, match=r"3.jpg cannot be read .* give an undamaged picture"):
        photo_set[3]


def test_subset_keeps_names_and_labels(tmp_path: Path) -> None:
    photo_set = photos(tmp_path)
    first = photo_set.block(2)
    assert first.names == ("photo 0", "photo 1")
    chosen = photo_set.rows(torch.tensor([5, 2]))
    assert chosen.names == ("photo 5", "photo 2")
    assert torch.equal(chosen[0]["image"], photo_set[5]["image"])
    assert chosen.labels["average"].tolist() == [2.5, 1.0]
    for count in (0, 7):
        with pytest.raises(UserError, match=f"{count} images requested, but the set has 6; request 1 to 6"):
            photo_set.block(count)


def test_uncropped_photos_contain_the_crop_in_their_centre(tmp_path: Path) -> None:
    photo_set = photos(tmp_path)
    whole = photo_set.uncropped()
    assert whole.images.shape == (6, 3, 20, 20)
    assert torch.equal(whole[2]["image"][:, 2:18, 2:18], photo_set[2]["image"])
    assert whole.names == photo_set.names
    assert whole[2]["average"] == photo_set[2]["average"]


def test_photos_are_found_by_name_in_any_folder(tmp_path: Path) -> None:
    for name in ("b/7.jpg", "a/b/8.JPG", "a/7.jpg", "9.png"):
        write_photo(tmp_path / name)
    (tmp_path / "votes.csv").write_text("")
    (tmp_path / "a" / ".5.jpg.part").write_text("")
    assert find_photos(tmp_path) == {
        "7": tmp_path / "a" / "7.jpg", "8": tmp_path / "a/b/8.JPG", "9": tmp_path / "9.png"
    }  # fmt: skip


def test_source_changes_with_the_files(tmp_path: Path) -> None:
    assert source_of(tmp_path / "none") == "missing"
    sources = set()
    for name, files in {"a": ["1.jpg"], "b": ["1.jpg", "2.jpg"], "c": ["1.jpg", "votes.tsv"]}.items():
        for file in files:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / file).write_text("x")
        sources.add(source_of(tmp_path / name))
    assert len(sources) == 3


def test_split_depends_on_name_and_seed_and_is_80_10_10() -> None:
    names = [f"sun_{number}" for number in range(20_000)]
    counts = Counter(split_of(name, 0) for name in names)
    assert [counts[name] / 20_000 for name in ("train", "val", "test")] == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    assert split_of("sun_1", 0) == split_of("sun_1", 0)
    assert [split_of(name, 0) for name in names[:100]] != [split_of(name, 1) for name in names[:100]]
    assert np.std([uniform_hash(name, 0) for name in names]) == pytest.approx(12**-0.5, abs=0.01)


def test_split_follows_the_shares_and_a_larger_train_share_only_adds_to_train() -> None:
    names = [f"sun_{number}" for number in range(20_000)]
    half, most = ({name: split_of(name, 3, shares) for name in names} for shares in ((0.5, 0.1, 0.4), (0.8, 0.1, 0.1)))
    counts = Counter(half.values())
    assert [counts[split] / 20_000 for split in SPLITS] == pytest.approx([0.5, 0.1, 0.4], abs=0.01)
    assert most == {name: split_of(name, 3) for name in names}
    assert {name for name in names if half[name] == "train"} < {name for name in names if most[name] == "train"}
    assert {name for name in names if most[name] == "test"} < {name for name in names if half[name] == "test"}


def test_empty_split_is_a_user_error(tmp_path: Path) -> None:
    photo_set = photos(tmp_path, 3)
    train, val, test = partition(photo_set, "sun", ["val", "train", "test"])
    assert [part.names for part in (train, val, test)] == [("photo 1",), ("photo 0",), ("photo 2",)]
    with pytest.raises(UserError, match="sun: none of the 3 photos is in val and test; add more photos"):
        partition(photo_set, "sun", ["train"] * 3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_photo_has_a_decoding_error(tmp_path: Path, suffix: str) -> None:
    path = write_photo(tmp_path / f"a.{suffix}")
    assert decoding_error(path) is None
    whole = path.read_bytes()
    for size in (0, 1, 20, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:size])
        assert decoding_error(path)
    path.write_text("<html>not found</html>")
    assert "cannot identify" in (decoding_error(path) or "")


def test_unreadable_photos_are_dropped_listed_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photo_set = photos(tmp_path / "photos")
    break_off(photo_set.paths[1])
    photo_set.paths[4].write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING, "evident"):
        kept = drop_unreadable(photo_set, "sun", 0.5, tmp_path / "store")
    assert kept.names == tuple(f"photo {row}" for row in (0, 2, 3, 5))
    assert kept.labels["average"].tolist() == [0.0, 1.0, 1.5, 2.5]
    [line] = caplog.messages
    assert line.startswith("sun: 2 of 6 photos cannot be read and are left out: ")
    with open(line.rpartition(": ")[2], newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["file"] for row in listed] == [str(photo_set.paths[1]), str(photo_set.paths[4])]
    assert all(row["reason"] for row in listed)


def test_too_many_unreadable_photos_are_a_user_error(tmp_path: Path) -> None:
    photo_set = photos(tmp_path / "photos")
    break_off(photo_set.paths[1])
    with pytest.raises(UserError, match=r"sun: 1 of 6 photos cannot be read, more than 10.0%: .*unreadable.csv; fetch"):
        drop_unreadable(photo_set, "sun", 0.1, tmp_path / "store")
    assert len(drop_unreadable(photo_set, "sun", 1 / 6, tmp_path / "store")) == 5


def test_photos_are_checked_once_and_again_when_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo_set, checked = photos(tmp_path / "photos"), []

    def counted(path: Path) -> str | None:
        checked.append(path)
        return decoding_error(path)

    monkeypatch.setattr("evident.data.scenes.photos.decoding_error", counted)
    for _ in range(2):
        assert drop_unreadable(photo_set, "sun", 0.5, tmp_path / "store") is photo_set
    assert sorted(checked) == sorted(photo_set.paths)
    whole = photo_set.paths[2].read_bytes()
    photo_set.paths[2].write_bytes(b"x" * len(whole))
    assert len(drop_unreadable(photo_set, "sun", 0.5, tmp_path / "store")) == 5
    assert len(checked) == 12
