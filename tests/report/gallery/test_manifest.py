"""The manifest of the gallery: what it says of hand-written cells, and that hostile names stay text."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery_samples import CLASSES, HOSTILE, SIDE, shown_cell
from PIL import Image

from evident.report.experiment import Cell, Experiment
from evident.report.gallery.manifest import manifest
from evident.report.gallery.packing import ALPHABET, pack, rounded, script
from evident.report.gallery.viewer import GLOBAL, viewer


def unpack(text: str, low: float, high: float) -> list[float]:
    steps = [64 * ALPHABET.index(a) + ALPHABET.index(b) for a, b in zip(text[::2], text[1::2], strict=True)]
    return [math.nan if step == 4095 else low + step / 4094 * (high - low) for step in steps]


def made(cells: list[Cell], longest: int = 112) -> tuple[dict[str, Any], dict[str, bytes]]:
    experiment = Experiment(cells, overrides=["experiment=toy", "paths.store=s"])
    return manifest(experiment, experiment.cells, longest)


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    return [
        shown_cell(tmp_path, "rise", {"hit": [1.0, 0.123456, math.nan]}, peak=4),
        shown_cell(tmp_path, "oracle", {"hit": [1.0, 1.0, 1.0], "extra": [5.0, 6.0, 7.0]}, reference_row=True),
        shown_cell(tmp_path, HOSTILE, {"hit": [0.5, 0.25, 0.0]}, peak=2),
        shown_cell(tmp_path, "rise", {"hit": [0.75] * 3}, seed=1, outcomes=False, masks=False),
    ]


def test_methods_are_sorted_references_last(cells: list[Cell]) -> None:
    said, _ = made(cells)
    assert [method["title"] for method in said["methods"]][1:] == ["rise", "oracle"]
    assert [(method["name"], method["reference"]) for method in said["methods"]] == [
        (HOSTILE, False),
        ("rise", False),
        ("oracle", True),
    ]
    assert said["command"] == "python run.py experiment=toy"
    assert said["scores"] == [{"name": "hit", "direction": "higher"}, {"name": "extra", "direction": "higher"}]


def test_network_has_its_images_classes_and_predictions(cells: list[Cell]) -> None:
    first, second = made(cells)[0]["networks"]
    assert (first["data"], first["model"], first["seed"], first["measures"]) == (
        *("an8flower_single_6c", "net", 0),
        "87.50% test accuracy",
    )
    assert first["names"] == ["image 0-0", "image 0-1", "image 0-2"]
    assert first["class"] == [CLASSES[0], CLASSES[1], CLASSES[0]]
    assert first["outcomes"] == {
        "label": [CLASSES[0], CLASSES[1], CLASSES[0]],
        "predicted": [CLASSES[1], CLASSES[1], CLASSES[0]],
        "probability": [0.75] * 3,
        "target_probability": [0.25, 0.75, 0.75],
    }
    assert all(path.startswith("M") for path in first["outlines"])
    assert "outcomes" not in second
    assert "outlines" not in second


def test_scores_are_those_of_the_cell_with_four_digits(cells: list[Cell]) -> None:
    first, second = made(cells)[0]["networks"]
    scores = {cell["method"]: cell["scores"] for cell in first["cells"]}
    assert scores == {0: [[0.5, 0.25, 0], None], 1: [[1, 0.1235, None], None], 2: [[1, 1, 1], [5, 6, 7]]}
    assert [cell["scores"] for cell in second["cells"]] == [[[0.75] * 3, None]]


def test_heatmap_is_recovered_from_its_tile(cells: list[Cell]) -> None:
    said, files = made(cells)
    [own] = [cell for cell in said["networks"][0]["cells"] if cell["method"] == 1]
    sheet = np.asarray(Image.open(io.BytesIO(files[own["tiles"]])).convert("L")).astype(float)
    ramp = np.linspace(0, 4, SIDE)
    for number, expected in enumerate([ramp, ramp[::-1], ramp]):
        tile = sheet[:, number * SIDE : (number + 1) * SIDE] / 255
        low, high = own["low"][number], own["high"][number]
        assert low + tile * (high - low) == pytest.approx(np.tile(expected, (SIDE, 1)), abs=4 / 255)


def test_curves_are_kept_with_their_positions(tmp_path: Path) -> None:
    long = np.linspace(2, 0, 101)
    said, _ = made(
        [
            shown_cell(tmp_path, "rise", {"hit": [1.0, 1.0]}, curve=(1.0, math.nan, -1.0)),
            shown_cell(tmp_path, "cam", {"hit": [1.0, 1.0]}, curve=long.tolist()),
        ]
    )
    by_length = {len(curve["at"]): (str(number), curve) for number, curve in enumerate(said["curves"])}
    assert sorted(by_length) == [3, 33]  # 101 positions are too many
    (short_number, short), (long_number, thinned) = by_length[3], by_length[33]
    assert (short["name"], short["axis"], short["at"], short["limits"]) == ("deletion", "pixels", [0, 0.5, 1], (-1, 1))
    [cam, rise] = said["networks"][0]["cells"]
    assert set(rise["curves"]) == {short_number}
    assert unpack(rise["curves"][short_number][1], -1, 1) == pytest.approx([1, math.nan, -1], nan_ok=True)
    assert unpack(cam["curves"][long_number][0], *thinned["limits"]) == pytest.approx(
        [2 - 2 * at for at in thinned["at"]], abs=1e-3
    )


def test_maps_that_are_alike_correlate(cells: list[Cell]) -> None:
    network = made(cells)[0]["networks"][0]
    assert [unpack(pairs, -1, 1) for pairs in network["alike"]] == [pytest.approx([1, 1, 1], abs=1e-3)] * 3


def test_regression_has_signed_tiles_and_no_outcomes(tmp_path: Path) -> None:
    cell = shown_cell(tmp_path, "siam", {"hit": [1.0, 2.0]}, peak=2, signed=True, outcomes=False, data="landscapes")
    network = made([cell])[0]["networks"][0]
    assert network["regression"]
    assert network["class"] == ["average"] * 2
    assert network["cells"][0]["signed"]["high"] == pytest.approx([1, 1], rel=0.01)
    assert network["cells"][0]["signed"]["low"] == pytest.approx([-1, -1], rel=0.01)


def test_larger_pictures_are_reduced(tmp_path: Path) -> None:
    cell = shown_cell(tmp_path, "rise", {"hit": [1.0, 2.0]}, side=40)
    said, files = made([cell], longest=20)
    network = said["networks"][0]
    assert (network["height"], network["width"], network["columns"]) == (20, 20, 2)
    assert Image.open(io.BytesIO(files[network["pictures"]])).size == (40, 20)


def test_script_has_no_text_that_could_end_it_and_keeps_hostile_names(cells: list[Cell]) -> None:
    said, tiles = made(cells)
    files = viewer(said, tiles)
    text = files["manifest.js"].decode("ascii")
    assert not set("<>&\u2028") & set(text)
    before, _, content = text.partition(" = ")
    assert before == f"window.{GLOBAL}"
    assert json.loads(content.removesuffix(";\n")) == json.loads(json.dumps(said))
    assert HOSTILE not in files["index.html"].decode()
    assert all(re.fullmatch(r"tiles/[0-9a-f]{12}\.webp", name) for name in files.keys() - {"index.html", "manifest.js"})


def test_page_asks_for_nothing_from_outside(cells: list[Cell]) -> None:
    page = viewer(*made(cells))["index.html"].decode()
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in page.replace("never through innerHTML", "")
    assert re.findall(r'src="(.+?)"', page) == ["manifest.js"]


def test_same_cells_give_the_same_bytes_in_any_order(cells: list[Cell]) -> None:
    written = [
        viewer(*manifest(experiment, experiment.cells, 112)) for experiment in map(Experiment, (cells, cells[::-1]))
    ]
    assert written[0] == written[1]


def test_packed_numbers_are_recovered() -> None:
    values = [0.25, -0.5, math.nan, 1.0, -1.0]
    assert unpack(pack(values, -1, 1), -1, 1) == pytest.approx(values, abs=1 / 4094, nan_ok=True)
    assert unpack(pack([3.0, 3.0], 3, 3), 3, 3) == [3, 3]


def test_scores_have_four_digits_and_no_infinity() -> None:
    assert rounded([0.123456, 123456.0, 1e-9, math.inf, math.nan]) == [0.1235, 123500.0, 1e-9, None, None]
    assert script("a", {"b": "<"}) == 'window.a = {"b":"\\u003c"};\n'
    with pytest.raises(ValueError, match="JSON"):
        script("a", {"b": math.nan})
