"""The picture of the README: known tiles and outlines, and what the committed gallery gives."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from entry_point import ROOT
from matplotlib.figure import Figure
from PIL import Image

from evident.report.gallery import tiles as gallery_tiles
from evident.report.gallery.packing import script
from evident.report.overview.teaser import GAP, IMAGES, METHODS, lines, read_manifest, teaser, tiles

RESULTS = ROOT / "results"


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.fixture(scope="module")
def drawn() -> Figure:
    figure = teaser(RESULTS)
    assert figure is not None
    return figure


def test_no_gallery_gives_no_picture(tmp_path: Path) -> None:
    assert teaser(tmp_path) is None


def test_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    content = {"text": "a < b & c = d;", "numbers": [0.5, None]}
    (tmp_path / "manifest.js").write_text(script("EVIDENT_GALLERY", content))
    assert read_manifest(tmp_path / "manifest.js") == content


def test_tiles_are_the_first_ones_also_from_the_second_row_of_a_sheet(tmp_path: Path) -> None:
    levels = np.arange(5, dtype=np.uint8)[:, None, None] * np.full((1, 4, 6), 40, np.uint8)
    sheet = np.zeros((12, 12), np.uint8)  # two columns
    for place, level in enumerate(levels):
        row, column = divmod(place, 2)
        sheet[4 * row : 4 * row + 4, 6 * column : 6 * column + 6] = level
    (tmp_path / "tiles").mkdir()
    Image.fromarray(sheet).convert("RGB").save(tmp_path / "tiles" / "a.webp", lossless=True)
    found = tiles(tmp_path, "a.webp", {"height": 4, "width": 6, "columns": 2})
    assert found.shape == (IMAGES, 4, 6, 3)
    assert (found[..., 0] == levels[:IMAGES]).all()


def test_outline_is_read_as_it_was_written() -> None:
    mask = np.zeros((20, 20), bool)
    mask[4:10, 5:15] = True
    mask[15:18, 2:4] = True
    found = lines(gallery_tiles.outline(mask, (20, 20)))
    assert len(found) == 2
    first = max(found, key=len)
    assert (first[0] == first[-1]).all()
    spans = sorted((line.min(0).tolist(), line.max(0).tolist()) for line in found)
    assert spans == [([2, 15], [4, 18]), ([5, 4], [15, 10])]
    assert lines("") == []


def test_every_column_and_row_is_named_and_every_score_shown(drawn: Figure) -> None:
    manifest = read_manifest(RESULTS / "an8flower" / "gallery" / "manifest.js")
    network, shown = manifest["networks"][0], texts(drawn)
    assert {name for _, *names in METHODS for name in names} <= set(shown)
    names = [method["name"] for method in manifest["methods"]]
    score = [metric["name"] for metric in manifest["scores"]].index("average_precision")
    for row in range(IMAGES):
        caption = f"{network['class'][row]}\np = {network['outcomes']['target_probability'][row]:.3f}"
        assert caption in shown
    for cell in network["cells"]:
        if names[cell["method"]] in [name for name, _, _ in METHODS]:
            for value in cell["scores"][score][:IMAGES]:
                assert f"{value:.2f}" in shown
    # Each evidence is outlined in each heatmap.
    outlines = sum(len(lines(path)) for path in network["outlines"][:IMAGES])
    assert len(drawn.axes[0].lines) == outlines * len(METHODS)


def test_outlines_lie_on_the_heatmaps(drawn: Figure) -> None:
    network = read_manifest(RESULTS / "an8flower" / "gallery" / "manifest.js")["networks"][0]
    across, down = network["width"] + GAP, network["height"] + GAP
    for line in drawn.axes[0].lines:
        x, y = (np.asarray(values) for values in line.get_data())
        assert np.floor((x.min() + 0.5) / across) == np.floor((x.max() + 0.5 - 1e-9) / across) > 0
        assert np.floor((y.min() + 0.5) / down) == np.floor((y.max() + 0.5 - 1e-9) / down)


def test_readme_states_network_and_images_of_the_picture() -> None:
    text = (ROOT / "README.md").read_text()
    network = read_manifest(RESULTS / "an8flower" / "gallery" / "manifest.js")["networks"][0]
    assert "](results/overview/teaser.webp)" in text
    assert f"{float(network['measures'].split('%')[0]):.1f} % test accuracy" in text
    assert network["names"][:IMAGES] == [f"test-{number:05d}" for number in range(IMAGES)]


def test_a_method_that_the_gallery_lacks_is_named(tmp_path: Path) -> None:
    folder = RESULTS / "an8flower" / "gallery"
    shutil.copytree(folder / "tiles", tmp_path / "an8flower" / "gallery" / "tiles")
    manifest = read_manifest(folder / "manifest.js")
    manifest["networks"][0]["cells"] = manifest["networks"][0]["cells"][:2]
    (tmp_path / "an8flower" / "gallery" / "manifest.js").write_text(f"window.X = {json.dumps(manifest)};\n")
    with pytest.raises(KeyError, match="vebi"):
        teaser(tmp_path)
