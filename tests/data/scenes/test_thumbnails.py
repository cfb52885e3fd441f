"""Thumbnails whose scenicness a network predicted, for trying out training."""

import os
from collections import Counter
from pathlib import Path

import pytest
from test_photos import write_photo

from evident.data.scenes.photos import PhotoSplits
from evident.data.scenes.thumbnails import thumbnails
from evident.errors import UserError


def write_thumbnails(root: Path, count: int = 60) -> Path:
    folder = root / "scenicornot"
    for number in range(count):
        write_photo(folder / "thumbnails" / f"b{number % 6 + 1}_{number:03d}.jpg", number, (45, 45))
    rows = [f"b{n % 6 + 1}_{n:03d}.jpg,{n % 6 + 1}-{n % 6 + 2},https://x\n" for n in range(count)]
    (folder / "thumbnails.csv").write_text("file,predicted_bin,source\n" + "".join(rows))
    return folder


def read(root: Path, store: Path) -> PhotoSplits:
    return thumbnails(50, 45, 0, 0.01, root=root, store=store)


def test_labels_are_the_middle_of_the_bin_and_no_variance(tmp_path: Path) -> None:
    write_thumbnails(tmp_path)
    splits = read(tmp_path, tmp_path / "store")
    batch = splits.train.__getitems__([0, 1, 2])
    assert set(batch) == {"image", "average", "variance", "index"}
    assert batch["image"].shape == (3, 3, 45, 45)
    for name, average in zip(splits.train.names, splits.train.labels["average"].tolist(), strict=True):
        assert average == int(name[1]) + 0.5
    assert splits.train.labels["variance"].isnan().all()


def test_first_images_come_from_several_bins(tmp_path: Path) -> None:
    write_thumbnails(tmp_path)
    assert len(read(tmp_path, tmp_path / "store").train.block(12).labels["average"].unique()) > 3


def test_missing_or_invalid_table_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"thumbnails.csv is missing; set EVIDENT_DATA"):
        read(tmp_path, tmp_path / "store")
    table = write_thumbnails(tmp_path) / "thumbnails.csv"
    wrong = {
        "file,bin\nb1_000.jpg,1-2\n": r"thumbnails.csv has no column predicted_bin",
        "file,predicted_bin\nb1_000.jpg,high\n": r"thumbnails.csv, line 2: predicted_bin is 'high', not such as 3-4",
    }
    for text, message in wrong.items():
        table.write_text(text)
        with pytest.raises(UserError, match=message):
            read(tmp_path, tmp_path / "store")


@pytest.mark.real_data
def test_real_thumbnails_are_1500_in_six_equal_bins(tmp_path: Path) -> None:
    splits = read(Path(os.environ["EVIDENT_DATA"]), tmp_path)
    parts = (splits.train, splits.val, splits.test)
    counted = Counter(average for part in parts for average in part.labels["average"].tolist())
    assert counted == dict.fromkeys([1.5, 2.5, 3.5, 4.5, 5.5, 6.5], 250)
    assert [round(len(part) / 1500, 1) for part in parts] == [0.8, 0.1, 0.1]
