"""The files of a cell: every product is read as it was written, and a missing one is an error."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from report_samples import image_scores

from evident import cell_folder
from evident.cell_folder import (
    DIRECTIONS,
    EXAMPLES,
    FEATURES,
    NETWORK,
    SCORES,
    CellFolder,
    Product,
)
from evident.errors import UserError

PRODUCTS = [value for value in vars(cell_folder).values() if isinstance(value, Product)]


def tensors() -> dict[str, torch.Tensor]:
    return {
        "images": torch.arange(24).byte().reshape(2, 3, 2, 2),
        "heatmaps": torch.tensor([[[0.1, math.nan]], [[-math.inf, 1e-30]]]),
        "target": torch.tensor([3, -1]),
        "masks": torch.tensor([[True, False]]),
    }


# Round trips


def test_table_of_scores_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = pd.concat([image_scores("gini", [1 / 3, math.nan]), image_scores("deletion", [0.1], "pixels", 0.25)])
    CellFolder(tmp_path).write(SCORES, written)
    pd.testing.assert_frame_equal(CellFolder(tmp_path).read(SCORES), written.reset_index(drop=True))


def test_csv_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = pd.DataFrame({"target": [0, 1], "class": ["cat", "dog, small"], "weight": [1 / 3, 1e-17]})
    CellFolder(tmp_path).write(FEATURES, written)
    pd.testing.assert_frame_equal(CellFolder(tmp_path).read(FEATURES), written)
    assert (tmp_path / "features.csv").read_text().splitlines()[0] == "target,class,weight"


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = {"hash": "h", "accuracy": {"test": 1 / 3}, "classes": ["cat", "Hündin"], "regression": False}
    CellFolder(tmp_path).write(NETWORK, written)
    assert CellFolder(tmp_path).read(NETWORK) == written
    assert json.loads((tmp_path / "network.json").read_text()) == written


@pytest.mark.parametrize("view", [False, True])
def test_tensors_are_read_as_they_were_written(tmp_path: Path, view: bool) -> None:
    written = {name: value.mT if view and value.dim() > 1 else value for name, value in tensors().items()}
    CellFolder(tmp_path).write(EXAMPLES, written)
    found = CellFolder(tmp_path).read(EXAMPLES)
    assert found.keys() == written.keys()
    for name, value in written.items():
        assert found[name].dtype == value.dtype
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("product", [product for product in PRODUCTS if product.file.endswith(".safetensors")])
def test_product_may_be_empty(tmp_path: Path, product: Product[Any]) -> None:
    CellFolder(tmp_path).write(product, {})
    assert CellFolder(tmp_path).has(product)
    assert CellFolder(tmp_path).get(product) == {}


def test_product_of_another_package_is_kept_by_its_suffix(tmp_path: Path) -> None:
    spectra: Product[dict[str, list[float]]] = Product("spectra.json")
    CellFolder(tmp_path).write(spectra, {"power": [0.5]})
    assert (tmp_path / "spectra.json").exists()
    assert CellFolder(tmp_path).read(spectra) == {"power": [0.5]}


def test_every_product_has_a_file_of_its_own_with_a_known_suffix() -> None:
    files = [product.file for product in PRODUCTS]
    assert len(set(files)) == len(files) > 0
    assert {Path(file).suffix for file in files} == {".parquet", ".json", ".csv", ".safetensors"}


# Missing files and unknown suffixes


def test_missing_product_is_an_error_that_names_file_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        CellFolder(tmp_path).read(SCORES)
    expected = f"{tmp_path / 'scores.parquet'} is missing; delete the folder {tmp_path} and run the cell again"
    assert str(error.value) == expected


def test_get_returns_none_for_a_missing_product_only(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path)
    assert folder.get(DIRECTIONS) is None
    assert not folder.has(DIRECTIONS)
    folder.write(DIRECTIONS, {"gini": "higher"})
    assert folder.get(DIRECTIONS) == {"gini": "higher"}
    assert folder.has(DIRECTIONS)
    assert not folder.has(NETWORK)


def test_unknown_suffix_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    product: Product[str] = Product("notes.txt")
    expected = r"a cell cannot keep notes.txt; use one of the suffixes .parquet, .csv, .safetensors, .json"
    with pytest.raises(UserError, match=expected):
        CellFolder(tmp_path).write(product, "")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=expected):
        CellFolder(tmp_path).read(product)


def test_environment_is_the_text_that_the_store_wrote(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text('{"torch": "2"}')
    assert CellFolder(tmp_path).environment() == '{"torch": "2"}'
