"""ScenicOrNot from the site's export and fetched photos: the labels and the split of each photo."""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_photos import break_off, write_photo

from evident.data.scenes.geograph import image_address
from evident.data.scenes.photos import PhotoSplits
from evident.data.scenes.scenic_or_not import Place, places, scenic_or_not
from evident.errors import UserError

HEADER = "ID\tLat\tLon\tAverage\tVariance\tVotes\tGeograph URI\n"
WITHOUT_ID = HEADER.removeprefix("ID\t")


def row(number: int, average: float = 5.0, name: str = "") -> str:
    return f"{name}51.7\t-2.2\t{average}\t1.25\t4,5,6\thttps://www.geograph.org.uk/photo/{number}\n"


def write_votes(root: Path, text: str) -> Path:
    (root / "scenicornot").mkdir(parents=True, exist_ok=True)
    (root / "scenicornot" / "votes.tsv").write_text(text)
    return root / "scenicornot"


def write_data_set(root: Path, count: int = 8) -> Path:
    """Write places 1, 2, ... of photos 101, 102, ... with averages 1.5, 2, ...; place 3 has no photo."""
    folder = write_votes(root, HEADER + "".join(row(100 + n, 1 + n / 2, f"{n}\t") for n in range(1, count + 1)))
    for number in range(1, count + 1):
        if number != 3:
            write_photo(folder / "images" / str(number % 3) / f"{number}.jpg", number)
    return folder


def read(root: Path, **changed: Any) -> PhotoSplits:
    settings = {"train": 4, "val": 1, "test": 2, "resize": 20, "size": 16, "unreadable": 0.5}
    return scenic_or_not(**{**settings, **changed}, root=root, store=root / "store")


def test_splits_follow_the_order_of_the_file(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    splits = read(tmp_path)
    assert splits.train.names == ("1", "2", "4", "5")
    assert splits.val.names == ("6",)
    assert splits.test.names == ("7", "8")
    assert read(tmp_path, train=2).test.names == ("5", "6")


def test_batch_has_images_with_average_and_variance_of_their_votes(tmp_path: Path) -> None:
    folder = write_data_set(tmp_path)
    batch = read(tmp_path).train.__getitems__([2, 0])
    assert set(batch) == {"image", "average", "variance", "index"}
    assert batch["image"].shape == (2, 3, 16, 16)
    assert batch["average"].tolist() == [3.0, 1.5]
    assert batch["variance"].tolist() == [1.25, 1.25]
    assert batch["average"].dtype == torch.float32
    assert read(tmp_path).train.paths[2] == folder / "images" / "1" / "4.jpg"


def test_id_comes_from_its_column(tmp_path: Path) -> None:
    folder = write_votes(tmp_path, HEADER + row(7, 4.75, "12\t") + row(8, 4.0, "9\t"))
    assert places(folder) == [
        Place("12", 4.75, 1.25, "https://www.geograph.org.uk/photo/7"),
        Place("9", 4.0, 1.25, "https://www.geograph.org.uk/photo/8"),
    ]


def test_without_the_id_column_the_id_is_geograph_and_the_number(tmp_path: Path) -> None:
    folder = write_votes(tmp_path, WITHOUT_ID + row(7) + row(8))
    assert [place.name for place in places(folder)] == ["geograph-7", "geograph-8"]
    write_photo(folder / "images" / "1" / "7.jpg")
    with pytest.raises(UserError, match="has no photo"):
        read(tmp_path)
    for number in (7, 8):
        write_photo(folder / "images" / "1" / f"geograph-{number}.jpg")
    with pytest.raises(UserError, match="there are 2"):
        read(tmp_path)


def test_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    folder = write_votes(tmp_path, "")
    (folder / "votes.tsv").write_bytes(("\ufeff" + HEADER + row(7, name="1\t")).replace("\n", "\r\n").encode())
    assert [place.name for place in places(folder)] == ["1"]


def test_missing_votes_error_names_the_path_and_the_source(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"scenicornot: .*votes.tsv is missing; download .*datasciencelab.*EVIDENT_DATA"
    ):
        read(tmp_path)


def test_missing_photos_error_names_the_command_that_fetches_them(tmp_path: Path) -> None:
    write_votes(tmp_path, HEADER + row(7, name="1\t"))
    with pytest.raises(UserError) as error:
        read(tmp_path)
    for part in ("scenicornot", str(tmp_path / "scenicornot" / "images"), "task=fetch_photos", "EVIDENT_DATA"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changed", [{"train": 5}, {"val": 0}, {"test": -1}])
def test_invalid_photo_counts_are_an_error(tmp_path: Path, changed: dict[str, int]) -> None:
    write_data_set(tmp_path)
    with pytest.raises(UserError, match=r"train=\d, val=\d, test=-?\d photos requested, .* there are 7; .*data.build"):
        read(tmp_path, **changed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ID\tLat\tLon\n1\t2\t3\n", "has no column Average, Variance, Geograph URI; its first line has ID, Lat, Lon"),
        ("", "has no column Average"),
        (HEADER + row(7, name="1\t") + "2\t51\t-2\tmuch\t1\t5\tx/8\n", "line 3, Average: 'much' is not a number"),
        (HEADER + "2\t51\t-2\t5\n", "line 2: 4 values for 7 columns"),
        (HEADER + row(7, 11.0, "1\t"), "line 2 is invalid .average 11.0"),
        (HEADER + row(7, float("nan"), "1\t"), "line 2, Average: 'nan' is not a number"),
        (HEADER + "2\t51\t-2\t5\t1\t5\thttps://geograph.org.uk/about\n", "does not end in a number"),
        (HEADER + row(7, name="../1\t"), "line 2 is invalid .ID '../1' is not a number"),
        (HEADER + row(7, name="1\t") + row(8, name="1\t"), "2 rows but 1 places"),
    ],
)
def test_invalid_file_error_names_the_file_and_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"scenicornot.*votes.tsv.*{message}"):
        places(write_votes(tmp_path, text))


def test_unreadable_photo_is_dropped_from_its_split_and_moves_no_other(tmp_path: Path) -> None:
    folder = write_data_set(tmp_path)
    break_off(folder / "images" / "2" / "2.jpg")
    splits = read(tmp_path)
    assert splits.train.names == ("1", "4", "5")
    assert splits.train.labels["average"].tolist() == [1.5, 3.0, 3.5]
    assert splits.val.names == ("6",)
    with pytest.raises(UserError, match=r"scenicornot train: 1 of 4 photos cannot be read, more than 1.0%"):
        read(tmp_path, unreadable=0.01)


@pytest.mark.real_data
def test_real_places_have_the_mean_and_variance_of_their_votes() -> None:
    folder = Path(os.environ["EVIDENT_DATA"]) / "scenicornot"
    read = places(folder)
    assert [place.name for place in read] == [str(number) for number in range(1, 51)]
    with open(folder / "votes.tsv", newline="") as file:
        votes = [np.array(row["Votes"].split(","), float) for row in csv.DictReader(file, delimiter="\t")]
    np.testing.assert_allclose([place.average for place in read], [own.mean() for own in votes], atol=5e-5)
    np.testing.assert_allclose([place.variance for place in read], [own.var() for own in votes], atol=5e-5)


@pytest.mark.real_data
def test_real_image_addresses_are_found_on_pages_that_show_them() -> None:
    folder = Path(os.environ["EVIDENT_DATA"]) / "scenicornot"
    with open(folder / "places.csv", newline="", encoding="utf-8-sig") as file:
        addresses = [row["image_uri"] for row in csv.DictReader(file)]
    page = "".join(f'<img src="{address}">' for address in addresses)
    assert [image_address(page, place.uri) for place in places(folder)] == addresses


@pytest.mark.real_data
def test_real_places_with_generated_photos_are_a_data_set(tmp_path: Path) -> None:
    real = Path(os.environ["EVIDENT_DATA"]) / "scenicornot"
    folder = write_votes(tmp_path, (real / "votes.tsv").read_text())
    for place in places(folder)[::2]:
        write_photo(folder / "images" / "1" / f"{place.name}.jpg")
    splits = read(tmp_path, train=20, val=2, test=3, resize=500, size=450)
    assert splits.train.images.shape == (20, 3, 450, 450)
    assert splits.test.names == ("45", "47", "49")
    assert splits.train[0]["average"] == pytest.approx(4.75)
