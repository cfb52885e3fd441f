"""SUN Attributes from the authors' files or from one table: the same votes, the same photos, stable splits."""

import csv
import gzip
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import savemat
from test_photos import break_off, write_photo

from evident.data.scenes.photos import PhotoSplits, split_of, uniform_hash
from evident.data.scenes.splits import SPLITS
from evident.data.scenes.sun_attributes import ATTRIBUTES, sun_attributes, votes_of
from evident.errors import UserError

COUNT = 30
SEED = 4  # with this seed every split gets some of the thirty names
NAMES = [f"sun_{number:04d}" for number in range(COUNT)]
SCENES = [("a/abbey", "d/desert/sand", "p/park")[number % 3] for number in range(COUNT)]


def shares(count: int = COUNT, columns: int = 33) -> NDArray[np.float64]:
    return np.random.default_rng(0).integers(0, 4, (count, columns)) / 3


def cells(strings: list[str]) -> NDArray[Any]:
    return np.array(strings, dtype=object).reshape(-1, 1)


def write_mat(root: Path, suffix: str = "2", names: tuple[str, ...] = ATTRIBUTES) -> Path:
    folder = root / "sun"
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / f"attributeLabels_continuous{suffix}.mat", {"labels_cv": shares(columns=len(names))})
    savemat(folder / f"attributes{suffix}.mat", {"attributes": cells(list(names))})
    paths = [f"{scene}/{name}.jpg" for scene, name in zip(SCENES, NAMES, strict=True)]
    savemat(folder / "images.mat", {"images": cells(paths)})
    return folder


def write_table(root: Path, votes: NDArray[np.float64] | None = None, names: list[str] = NAMES) -> Path:
    folder = root / "sun"
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "attributes.csv.gz", "wt", newline="") as file:
        table = csv.writer(file)
        table.writerow(["row", "class", "image", "name_sure", *ATTRIBUTES])
        for row, own in enumerate(shares() if votes is None else votes):
            image = names[row] and f"{names[row]}.jpg"
            table.writerow([row, SCENES[row], image, 1, *(f"{share:.6g}" for share in own)])
    return folder


def write_photos(folder: Path, names: list[str] = NAMES) -> None:
    for number, name in enumerate(names):
        write_photo(folder / "images" / f"{name}.jpg", number)


def read(root: Path, **changed: Any) -> PhotoSplits:
    settings = {"resize": 20, "size": 16, "seed": SEED, "unreadable": 0.5}
    return sun_attributes(**{**settings, **changed}, root=root, store=root / "store")


def test_batch_has_images_with_attributes_and_scene_class(tmp_path: Path) -> None:
    write_photos(write_table(tmp_path))
    splits = read(tmp_path)
    batch = splits.train.__getitems__([1, 0])
    assert set(batch) == {"image", "attributes", "label", "index"}
    assert batch["image"].shape == (2, 3, 16, 16)
    assert splits.attributes == ATTRIBUTES
    assert splits.classes == ("a/abbey", "d/desert/sand", "p/park")
    number = NAMES.index(splits.train.names[1])
    assert splits.classes[batch["label"][0]] == SCENES[number]
    np.testing.assert_allclose(batch["attributes"][0].numpy(), shares()[number], atol=1e-6)


def test_written_shares_are_rounded_to_thirds(tmp_path: Path) -> None:
    write_photos(write_table(tmp_path))
    train = read(tmp_path).train.labels["attributes"]
    thirds = torch.tensor([0, 1 / 3, 2 / 3, 1])
    assert train.dtype == torch.float32
    assert torch.isin(train, thirds).all()


def test_authors_files_and_the_table_give_the_same_votes(tmp_path: Path) -> None:
    table, authors = votes_of(write_table(tmp_path / "table")), votes_of(write_mat(tmp_path / "authors"))
    assert table.names == authors.names == NAMES
    assert table.scenes == authors.scenes == SCENES
    np.testing.assert_array_equal(table.shares, authors.shares)


def test_attributes_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    names = tuple(name.replace("_", "/ ").title() for name in ATTRIBUTES[::-1])
    votes = votes_of(write_mat(tmp_path, "", ("boating", *names, "stressful")))
    np.testing.assert_allclose(votes.shares, shares(columns=35)[:, 33:0:-1], atol=1e-6)


def test_missing_attribute_names_are_a_user_error_with_the_remedy(tmp_path: Path) -> None:
    write_mat(tmp_path, "", ("fencing", "railing", *ATTRIBUTES[9:]))
    with pytest.raises(UserError, match=r"attributes.mat lacks 9 .*trees.*fencing_railing.*attributes2.mat"):
        read(tmp_path)


def test_photos_are_found_in_any_folder_and_unlabelled_ones_are_ignored(tmp_path: Path) -> None:
    folder = write_table(tmp_path)
    for place, name in zip(("images/a/abbey", "photos/park", "."), (NAMES[0], NAMES[7], NAMES[29]), strict=True):
        write_photo(folder / place / f"{name}.jpg")
    write_photo(folder / "images" / "sun_unknown.jpg")
    (folder / "photos" / "park" / "notes.txt").write_text("")
    seeds = [seed for seed in range(200) if len({split_of(NAMES[row], seed) for row in (0, 7, 29)}) == 3]
    splits = read(tmp_path, seed=seeds[0])
    assert {name for part in (splits.train, splits.val, splits.test) for name in part.names} == {
        NAMES[0], NAMES[7], NAMES[29]
    }  # fmt: skip


def test_row_without_a_file_name_is_ignored(tmp_path: Path) -> None:
    folder = write_table(tmp_path, names=["", *NAMES[1:]])
    write_photos(folder)
    splits = read(tmp_path)
    assert sum(map(len, (splits.train, splits.val, splits.test))) == COUNT - 1


def test_photos_keep_their_split_when_others_are_removed(tmp_path: Path) -> None:
    write_photos(write_table(tmp_path))
    before = read(tmp_path)
    removed = before.train.names[0]
    (tmp_path / "sun" / "images" / f"{removed}.jpg").unlink()
    after = read(tmp_path)
    assert after.train.names == before.train.names[1:]
    assert (after.val.names, after.test.names) == (before.val.names, before.test.names)
    assert read(tmp_path, seed=SEED + 1).test.names != before.test.names


def test_shares_of_the_split_can_be_set(tmp_path: Path) -> None:
    write_photos(write_table(tmp_path))
    splits = read(tmp_path, shares=[0.5, 0.1, 0.4])
    for split, part in zip(SPLITS, (splits.train, splits.val, splits.test), strict=True):
        assert sorted(part.names) == [name for name in NAMES if split_of(name, SEED, (0.5, 0.1, 0.4)) == split]
    assert len(splits.test) > len(read(tmp_path).test)
    assert read(tmp_path, shares=(0.8, 0.1, 0.1)).test.names == read(tmp_path).test.names


@pytest.mark.parametrize(
    "given", [[0.5, 0.5], [0.8, 0.1, 0.2], [0.4, 0.2, 0.2, 0.2], [0.9, 0.1, 0.0], [1.2, 0.1, -0.3]]
)
def test_invalid_shares_are_a_user_error(tmp_path: Path, given: list[float]) -> None:
    message = f"data.build.shares={given}; give three above 0 that sum to 1, for train, val and test"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read(tmp_path, shares=given)


def test_authors_split_is_used_if_it_exists(tmp_path: Path) -> None:
    folder = write_mat(tmp_path)
    write_photos(folder)
    sets = np.arange(COUNT).reshape(-1, 1) % 3
    savemat(folder / "trainval_idx.mat", {"sets": sets})
    splits = read(tmp_path)
    for number, part in enumerate((splits.train, splits.val, splits.test)):
        assert sorted(part.names) == NAMES[number::3]
    assert read(tmp_path, shares=(0.5, 0.1, 0.4)).test.names == splits.test.names
    savemat(folder / "trainval_idx.mat", {"sets": sets[1:]})
    with pytest.raises(UserError, match=r"trainval_idx.mat needs 0, 1 or 2 for each of 30 photos"):
        read(tmp_path)


def test_unreadable_photos_are_dropped_up_to_a_share(tmp_path: Path) -> None:
    folder = write_table(tmp_path)
    write_photos(folder)
    break_off(folder / "images" / f"{NAMES[3]}.jpg")
    splits = read(tmp_path)
    assert NAMES[3] not in splits.train.names + splits.val.names + splits.test.names
    with pytest.raises(UserError, match=r"sun: 1 of 30 photos cannot be read, more than 1.0%"):
        read(tmp_path, unreadable=0.01)


def test_missing_labels_and_photos_are_user_errors_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sun: .*sun has no labels; get images.mat .*EVIDENT_DATA"):
        read(tmp_path)
    write_table(tmp_path)
    with pytest.raises(UserError, match=r"has none of the 30 photos .*SUNAttributeDB_Images.tar.gz.*EVIDENT_DATA"):
        read(tmp_path)
    (write_mat(tmp_path) / "images.mat").unlink()
    with pytest.raises(UserError, match=r"images.mat is missing"):
        read(tmp_path)


@pytest.mark.parametrize("share", [0.5, 1.3333, -0.3333, float("nan")])
def test_share_that_is_no_third_is_a_user_error(tmp_path: Path, share: float) -> None:
    votes = shares()
    votes[4, 2] = share
    write_table(tmp_path, votes)
    with pytest.raises(UserError, match=r"attributes.csv.gz, flowers of photo 4: .* is not 0, 1/3, 2/3 or 1"):
        read(tmp_path)


def test_invalid_files_are_user_errors(tmp_path: Path) -> None:
    folder = write_table(tmp_path)
    whole = (folder / "attributes.csv.gz").read_bytes()
    for damaged in (b"no gzip", whole[: len(whole) // 2]):
        (folder / "attributes.csv.gz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"attributes.csv.gz needs class, image"):
            read(tmp_path)
    write_mat(tmp_path)
    savemat(folder / "images.mat", {"images": cells(["a/b.jpg"])})
    with pytest.raises(UserError, match=r"is 30 x 33, expected 1 photos of images.mat x 33 names of attributes2.mat"):
        read(tmp_path)
    (folder / "images.mat").write_bytes(b"no matlab")
    with pytest.raises(UserError, match=r"images.mat is not a Matlab file with images in it"):
        read(tmp_path)


def test_photos_are_shuffled_by_hash(tmp_path: Path) -> None:
    write_photos(write_table(tmp_path))
    splits = read(tmp_path)
    for part in (splits.train, splits.val, splits.test):
        assert list(part.names) == sorted(part.names, key=lambda name: uniform_hash(name, SEED))


@pytest.mark.real_data
def test_real_labels_are_those_of_14340_photos() -> None:
    folder = Path(os.environ["EVIDENT_DATA"]) / "sun"
    votes = votes_of(folder)
    assert votes.shares.shape == (14_340, 33)
    assert len(set(votes.scenes)) == 717
    assert sum(name == "" for name in votes.names) == 39
    assert tuple((folder / "attribute_names.txt").read_text().split()) == ATTRIBUTES


@pytest.mark.real_data
def test_all_real_labelled_photos_are_found_with_the_votes_of_their_row(tmp_path: Path) -> None:
    root = Path(os.environ["EVIDENT_DATA"])
    splits, votes = sun_attributes(500, 450, 0, 0.01, root=root, store=tmp_path), votes_of(root / "sun")
    with open(root / "sun" / "photos.csv", newline="") as file:
        listed = {Path(row["file"]).stem: row for row in csv.DictReader(file) if row["has_attributes"] == "1"}
    for part in (splits.train, splits.val, splits.test):
        for row, name in enumerate(part.names):
            own = int(listed[name]["attributes_row"])
            np.testing.assert_array_equal(part.labels["attributes"][row].numpy(), votes.shares[own])
            scene = splits.classes[part.labels["label"][row]]
            assert listed[name]["class"] in scene.split("/")
    names = [name for part in (splits.train, splits.val, splits.test) for name in part.names]
    assert len(names) == len(listed)
    assert set(names) == set(listed)
    assert splits.test.__getitems__([0, 1])["image"].shape == (2, 3, 450, 450)
    assert len(set(splits.test.labels["label"][:5].tolist())) > 1
