"""The gallery in a browser, opened from the disk and used by mouse and keys."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from browser import Page, executable, page
from gallery_samples import CLASSES, HOSTILE, shown_cell
from PIL import Image
from scipy.stats import PermutationMethod, wilcoxon

from evident.cell_folder import OUTCOMES
from evident.report.experiment import Cell, Experiment
from evident.report.figures.files import write_folder
from evident.report.gallery.manifest import manifest
from evident.report.gallery.viewer import viewer

pytestmark = pytest.mark.skipif(executable() is None, reason="no Chromium is installed; the page is not clicked")


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with page() as opened:
        yield opened


@pytest.fixture
def opened(browser: Page) -> Iterator[Page]:
    """Return a page of 1400 pixels; afterwards it must have had no error and asked for files only."""
    browser.complaints.clear()
    browser.requests.clear()
    browser.resize(1400, 900)
    yield browser
    assert browser.complaints == []
    assert [address for address in browser.requests if not address.startswith(("file:", "about:"))] == []


def written(folder: Path, cells: list[Cell]) -> str:
    experiment = Experiment(cells, overrides=["experiment=toy"])
    write_folder(viewer(*manifest(experiment, experiment.cells, 112)), folder)
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a gallery of two methods and a reference on four images of network 0, and two of network 1."""
    root = tmp_path_factory.mktemp("gallery")
    hits = {"rise": [0.9, 0.1, 0.5, 0.7], HOSTILE: [0.8, 0.3, 0.45, 0.2], "oracle": [1.0, 1.0, 1.0, 1.0]}
    cells = [
        shown_cell(root, name, {"hit": values}, peak=4 if name == "rise" else 2, reference_row=name == "oracle")
        for name, values in hits.items()
    ]
    cells += [shown_cell(root, "rise", {"hit": [0.6, 0.65]}, seed=1)]
    return written(root / "gallery", cells)


def show(opened: Page, address: str, **state: str) -> None:
    """Open the gallery with some state, and wait until its tiles are painted."""
    arguments = "&".join(f"{name}={value}" for name, value in state.items())
    opened.open(f"{address}#{arguments}" if arguments else address)
    settle(opened)


def settle(opened: Page) -> None:
    opened.run(
        "Promise.all([...sheets.values()]).then(() => new Promise(r => requestAnimationFrame(() => setTimeout(r, 50))))"
    )


def text(opened: Page, selector: str) -> str:
    return str(opened.run(f"document.querySelector('{selector}').textContent"))


def first_column(opened: Page) -> list[str]:
    """Return the names of the images in view, from top to bottom."""
    return list(opened.run("view.rows.map(row => row.name)"))


def pixels_of(opened: Page, row: int, column: int) -> Any:
    """Return the middle row of a tile as it is seen, (width, 3)."""
    box = opened.run(
        f"(() => {{ const tile = view.cells.get({row}).tiles.get({column});"
        " const r = tile.querySelector('.stack').getBoundingClientRect();"
        " return [r.left, r.top, r.right, r.bottom]; })()"
    )
    left, top, right, bottom = (round(side) for side in box)
    image = Image.open(io.BytesIO(opened.screenshot())).convert("RGB").crop((left, top, right, bottom))
    return np.asarray(image)[image.height * 3 // 4].astype(int)  # below the bright square and its outline


def viridis(share: float) -> Any:
    return np.array(mpl.colormaps["viridis"](share)[:3]) * 255


def test_page_shows_every_image_and_method_and_hostile_names_as_text(opened: Page, address: str) -> None:
    opened.resize(1400, 1600)  # all rows are in view
    show(opened, address)
    assert text(opened, "#status") == "6 of 6 images × 3 of 3 methods"
    assert opened.run("document.querySelectorAll('.row button.tile').length") == 4 * 3 + 2
    assert text(opened, "#experiment") == f"toy {HOSTILE} (smoke)"
    assert HOSTILE in text(opened, "#head")
    assert opened.run("[...document.querySelectorAll('#grid b')].every(b => b.children.length === 0)")
    assert opened.run("document.scripts.length") == 8


def test_tile_has_class_probability_and_scores(opened: Page, address: str) -> None:
    show(opened, address)
    [first] = opened.run("[view.cells.get(0).tiles.get(view.methods.indexOf(1)).innerText]")
    assert first.split() == ["petals", "red", "0.25", "hit", "0.900"]


def test_image_of_which_a_wrong_class_is_explained_is_called_by_its_label(opened: Page, tmp_path: Path) -> None:
    cell = shown_cell(tmp_path, "rise", {"hit": [1.0, 2.0]})
    outcomes = cell.folder.read(OUTCOMES)
    cell.folder.write(OUTCOMES, outcomes.assign(label=outcomes["target"][::-1].to_list(), predicted=outcomes["target"]))
    show(opened, written(tmp_path / "g", [cell]))
    [said] = opened.run("[view.cells.get(0).element.querySelector('.about').innerText]")
    assert said.split("\n")[:2] == [CLASSES[1], f"✗ {CLASSES[0]} 0.750"]
    opened.click(".about")
    assert text(opened, "#detail-title") == f"{CLASSES[1]}: image 0-0"
    assert f"predicted {CLASSES[0]} (0.750), wrong, explained: {CLASSES[0]}" in text(opened, "#detail-text")


def test_heatmap_has_the_colours_of_the_map(opened: Page, address: str) -> None:
    show(opened, address, opacity="100", outline="", columns="")
    seen = pixels_of(opened, 0, 1)  # a ramp from left to right
    for share in (0.1, 0.5, 0.9):
        assert np.abs(seen[round(share * len(seen))] - viridis(share)).max() < 14
    turned = pixels_of(opened, 1, 1)
    assert np.abs(turned[len(turned) // 10] - viridis(0.9)).max() < 14


def test_one_scale_for_all_darkens_the_smaller_heatmap(opened: Page, address: str) -> None:
    show(opened, address, opacity="100", outline="", scale="all")
    smaller, larger = pixels_of(opened, 0, 0), pixels_of(opened, 0, 1)
    assert np.abs(larger[round(0.9 * len(larger))] - viridis(0.9)).max() < 14
    assert np.abs(smaller[round(0.9 * len(smaller))] - viridis(0.45)).max() < 14
    assert (text(opened, "#low"), text(opened, "#high")) == ("0.000", "4.000")


def test_opacity_zero_shows_the_picture(opened: Page, address: str) -> None:
    show(opened, address, opacity="0", outline="")
    assert pixels_of(opened, 0, 1).max() < 5  # black below the square


def test_signed_maps_are_diverging(opened: Page, tmp_path: Path) -> None:
    options: Any = {"signed": True, "outcomes": False, "masks": False, "data": "landscapes"}
    show(
        opened,
        written(tmp_path / "g", [shown_cell(tmp_path, "siam", {"hit": [1.0, 2.0]}, **options)]),
        signed="1",
        opacity="100",
    )
    seen = pixels_of(opened, 0, 0)
    for share in (0.05, 0.5, 0.95):
        expected = np.array(mpl.colormaps["coolwarm"](share)[:3]) * 255
        assert np.abs(seen[round(share * len(seen))] - expected).max() < 20
    assert opened.run("document.getElementById('class').parentElement.hidden")
    assert opened.run("document.getElementById('prediction').hidden")


def choose(opened: Page, select: str, value: str) -> None:
    opened.run(
        f"(() => {{ const s = document.getElementById('{select}'); s.value = {value!r};"
        " s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def test_filters_and_address(opened: Page, address: str) -> None:
    show(opened, address)
    choose(opened, "outcome", "wrong")
    assert first_column(opened) == ["image 0-0", "image 0-3", "image 1-0"]
    choose(opened, "network", "net/1")
    assert first_column(opened) == ["image 1-0"]
    opened.click(".list summary")
    opened.click("#methods label:last-child input")
    assert text(opened, "#methods-count") == "2 of 3"
    shared = opened.run("location.href")
    show(opened, address)
    assert text(opened, "#status").startswith("6 of 6")
    opened.open(shared)
    assert first_column(opened) == ["image 1-0"]
    assert text(opened, "#methods-count") == "2 of 3"
    choose(opened, "class", CLASSES[1])
    assert not opened.run("document.getElementById('nothing').hidden")


def test_images_are_sorted_by_score_probability_and_disagreement(opened: Page, address: str) -> None:
    show(opened, address, sort="hit")
    means = {
        "image 0-0": 2.7 / 3,
        "image 0-1": 1.4 / 3,
        "image 0-2": 1.95 / 3,
        "image 0-3": 1.9 / 3,
        "image 1-0": 0.6,
        "image 1-1": 0.65,
    }
    order = sorted(means, key=lambda name: means[name])
    assert first_column(opened)[0] == order[0] == "image 0-1"
    assert [means[name] for name in first_column(opened)] == pytest.approx(sorted(means.values()))
    choose(opened, "order", "best")
    assert first_column(opened)[0] == "image 0-0"
    choose(opened, "columns", "score")
    assert opened.run("view.methods.map(m => gallery.methods[m].name)") == ["oracle", "rise", HOSTILE]
    choose(opened, "sort", "probability")
    choose(opened, "order", "worst")
    assert set(first_column(opened)[:3]) == {"image 0-0", "image 0-3", "image 1-0"}
    choose(opened, "sort", "disagreement")
    assert set(first_column(opened)[-2:]) == {"image 1-0", "image 1-1"}  # one method disagrees with nobody


def test_keys_move_open_and_close(opened: Page, address: str) -> None:
    show(opened, address)
    opened.run("move(0, 0)")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft"):
        opened.press(key)
    assert opened.run("view.current") == [1, 1]
    assert opened.run("document.activeElement.classList.contains('tile')")
    opened.press("Enter")
    assert opened.run("document.getElementById('detail').open")
    assert "image 0-1" in text(opened, "#detail-title")
    opened.press("ArrowRight")
    assert "image 0-2" in text(opened, "#detail-title")
    opened.press("Escape")
    assert not opened.run("document.getElementById('detail').open")
    opened.press("o")
    assert opened.run("document.body.classList.contains('no-outline')")
    opened.press("s")
    assert opened.run("state.scale") == "method"
    opened.press("-")
    assert opened.run("state.opacity") == "60"


def test_image_shows_curves_scores_and_a_paired_test(opened: Page, address: str) -> None:
    show(opened, address)
    opened.click(".row .about")
    assert opened.run("document.querySelectorAll('#plot polyline').length") == 3
    assert opened.run("[...document.querySelectorAll('#table tbody tr')].map(r => r.cells[1].textContent)") == [
        "0.800",
        "0.900",
        "1.000",
    ]
    choose(opened, "a", "rise")
    choose(opened, "b", "oracle")
    said = text(opened, "#test")
    assert "rise is higher on 0 and lower on 4 of the n = 4 shown images" in said
    assert "median difference to oracle is -0.400" in said
    assert f"p = {wilcoxon([-0.1, -0.9, -0.5, -0.3]).pvalue:.3f}" in said
    opened.click("#close")
    settle(opened)
    assert "image=" not in opened.run("location.hash")


@pytest.mark.parametrize(
    "differences",
    [[0.5, -0.25, 0.75, 1.0, -2.0], [1, 1, -1, 2, 2, -3, 4], [0.0, 0.0, 1.0, 2.0, -0.5], [0.0], [1.0] * 10],
)
def test_signed_rank_test_is_exact_also_with_ties(opened: Page, address: str, differences: list[float]) -> None:
    show(opened, address)
    found = opened.run(f"wilcoxon({differences})")
    kept = [value for value in differences if value]
    assert found["n"] == len(kept)
    expected = wilcoxon(kept, method=PermutationMethod()).pvalue if kept else 1
    assert found["p"] == pytest.approx(expected)


def test_phone_shows_the_grid_without_sideways_scrolling_of_the_page(opened: Page, address: str) -> None:
    opened.resize(390, 844, dark=True)
    show(opened, address)
    assert opened.run("document.documentElement.scrollWidth") == 390
    assert opened.run("view.cells.get(0).tiles.get(0).getBoundingClientRect().width") == 84
    assert opened.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
    opened.click(".row .about")
    assert opened.run("document.getElementById('detail').getBoundingClientRect().width") == 390


@pytest.mark.slow
def test_large_gallery_draws_what_is_visible_only(opened: Page, tmp_path: Path) -> None:
    cell = shown_cell(tmp_path, "rise", {"hit": [0.5] * 100}, side=112)
    experiment = Experiment([cell])
    said, tiles = manifest(experiment, [cell], 112)
    network, [own] = said["networks"][0], said["networks"][0]["cells"]
    said["methods"] = [{"name": f"method_{number}", "reference": False, "budget": None} for number in range(28)]
    network["cells"] = [{**own, "method": number, "tiles": f"{number}.webp"} for number in range(28)]
    network["alike"] = ["AA" * (28 * 27 // 2)] * 100
    tiles |= {f"{number}.webp": tiles[own["tiles"]] for number in range(28)}
    write_folder(viewer(said, tiles), tmp_path / "gallery")
    began = time.monotonic()
    show(opened, (tmp_path / "gallery" / "index.html").as_uri())
    assert time.monotonic() - began < 10  # 2 s on an idle machine
    assert text(opened, "#status") == "100 of 100 images × 28 of 28 methods"
    assert opened.run("document.querySelectorAll('.tile').length") < 150
    assert len([address for address in opened.requests if address.endswith(".webp")]) < 18
    opened.run("grid.scrollTo(1e6, 1e6)")
    settle(opened)
    assert opened.run("view.cells.get(99).tiles.has(27)")
    assert not opened.run("view.cells.has(0)")


def test_page_without_its_manifest_says_so(browser: Page, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(viewer({}, {})["index.html"])
    browser.open((tmp_path / "index.html").as_uri())
    assert text(browser, "body").startswith("manifest.js is missing")
