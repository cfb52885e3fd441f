"""MNIST with the real files, and missing, damaged or read-only files."""

import os
import shutil
from pathlib import Path

import pytest
import requests
import torch

from evident.data import download
from evident.data.download import fetch
from evident.data.mnist import mnist
from evident.errors import UserError

MD5_OF_HELLO = "5d41402abc4b2a76b9719d911017c592"


def real_data() -> Path:
    return Path(os.environ["EVIDENT_DATA"])


@pytest.mark.real_data
def test_real_files_have_the_published_statistics(tmp_path: Path) -> None:
    splits = mnist(55_000, 5_000, 10_000, root=real_data(), store=tmp_path)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [55_000, 5_000, 10_000]
    training = torch.cat([torch.as_tensor(split.images) for split in (splits.train, splits.val)]).float() / 255
    assert training.mean().item() == pytest.approx(0.1307, abs=1e-4)
    assert training.std().item() == pytest.approx(0.3081, abs=1e-4)
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert torch.bincount(splits.test.labels).tolist() == counts
    assert set(splits.train.names).isdisjoint(splits.val.names)
    assert splits.test.masks is None


@pytest.mark.real_data
def test_read_only_folder_is_read_without_a_download(tmp_path: Path) -> None:
    raw = tmp_path / "mnist" / "MNIST" / "raw"
    shutil.copytree(real_data() / "mnist" / "MNIST" / "raw", raw)
    raw.chmod(0o555)
    mnist(10, 10, 10, root=tmp_path, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.real_data
def test_truncated_file_is_an_error_that_names_it_and_the_remedy(tmp_path: Path) -> None:
    raw = tmp_path / "mnist" / "MNIST" / "raw"
    shutil.copytree(real_data() / "mnist" / "MNIST" / "raw", raw)
    raw.chmod(0o755)
    file = raw / "train-images-idx3-ubyte.gz"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UserError, match=rf"{file} is not the official file of mnist .* delete it and run again"):
        mnist(10, 10, 10, root=tmp_path, store=tmp_path / "store")


@pytest.mark.real_data
def test_more_images_than_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train=56000 images requested; request 1 to 55000"):
        mnist(56_000, 10, 10, root=real_data(), store=tmp_path)


def test_missing_file_without_network_is_an_error_that_names_it_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(download.pooch, "retrieve", offline)
    with pytest.raises(UserError, match=r"mnist: .*train-images-idx3-ubyte.gz is missing .*EVIDENT_DATA"):
        mnist(10, 10, 10, root=tmp_path, store=tmp_path / "store")


def test_missing_file_is_downloaded_from_the_first_url_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> str:
        requested.append((url, known_hash))
        if url.startswith("http://first"):
            raise requests.ConnectionError("down")
        path.mkdir(parents=True)
        (path / fname).write_text("hello")
        return str(path / fname)

    monkeypatch.setattr(download.pooch, "retrieve", retrieve)
    file = tmp_path / "set" / "part.bin"
    urls = ["http://first/part.bin", "http://second/part.bin"]
    assert fetch("set", file, urls, MD5_OF_HELLO, tmp_path / "else") == file
    assert requested == [(url, f"md5:{MD5_OF_HELLO}") for url in urls]
    assert fetch("set", file, [], MD5_OF_HELLO, tmp_path / "else") == file
