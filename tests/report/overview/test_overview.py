"""The front page of results/: its claims, ranks and cards, known answers, and that what is committed is up to date."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import executable, page
from claims_script import score_table
from entry_point import ROOT
from PIL import Image

from evident.report.claims.verdicts import BEGIN, Claim
from evident.report.overview.cards import cards
from evident.report.overview.cost import cost_figure, quality
from evident.report.overview.page import scoreboard, titles_of_configs, write
from evident.report.overview.papers import Paper, papers
from evident.report.overview.ranks import ranks, ranks_figure

SCRIPT = """
from evident.errors import UserError
from evident.report.claims.verdicts import Claim
def claims(results):
    if not (results / "toy" / "table.csv").exists():
        raise UserError(f"{results}/toy/table.csv is missing; run python run.py experiment=toy")
    sample = "2 networks x 3 images, 1 test"
    return [
        Claim("a <b>", "always & ever", "toy", "0.5 [0.4, 0.6]", sample, "undecided", "9 networks"),
        Claim("b", "never", "toy", "0.1", sample, "holds"),
        Claim("c", "never", "toy", "0.1", sample, "refuted"),
    ]
"""


def project(root: Path, scored: bool = True) -> Path:
    """Write a project of one paper and one experiment."""
    page, toy = root / "experiments" / "paper", root / "results" / "toy"
    page.mkdir(parents=True)
    (page / "claims.py").write_text(SCRIPT)
    (page / "README.md").write_text("# Toy: a paper\n\nText.\n\n**In short.** It holds\nin part.\n\nMore.\n")
    (root / "README.md").write_text("top\n<!-- scoreboard -->\nold\n<!-- end of scoreboard -->\nbottom\n")
    for folder in (toy, root / "results" / "an8flower"):
        (folder / "figures").mkdir(parents=True)
        (folder / "figures" / "scores.webp").write_bytes(b"")
        made = {"commit": "0123456789abcdef", "device": "cpu"}
        networks = [{"model": "net", "accuracy": {"test": share}} for share in (0.5, 0.75)]
        known = {"experiment": folder.name, "command": "python run.py", "scale": "quick", "environments": [made]}
        (folder / "provenance.json").write_text(json.dumps({**known, "models": networks}))
    means = {"average_precision": {f"method_{number}": number / 20 for number in range(12)}}
    table = score_table(["net"], means, images=3, seeds="0 1")
    table.to_csv(root / "results" / "an8flower" / "table.csv", index=False)
    cost = pd.DataFrame({"explainer": [f"method_{number}" for number in range(12)], "forward_passes_per_image": 2.0})
    cost.assign(backward_passes_per_image=1.0).to_csv(root / "results" / "an8flower" / "cost.csv", index=False)
    if scored:
        table.to_csv(toy / "table.csv", index=False)
    return root


def test_claims_are_read_from_the_scripts(tmp_path: Path) -> None:
    [paper] = papers(project(tmp_path))
    assert (paper.name, paper.title, paper.finding) == ("paper", "Toy: a paper", "It holds in part.")
    assert [paper.count(verdict) for verdict in ("holds", "refuted", "undecided", "underpowered")] == [1, 1, 1, 0]


def test_a_paper_without_tables_is_named_with_what_is_missing(tmp_path: Path) -> None:
    [paper] = papers(project(tmp_path, scored=False))
    assert not paper.claims
    assert paper.missing == "results/toy/table.csv is missing; run python run.py experiment=toy"
    assert "| [Toy](experiments/paper/README.md) |  |  |  | not run yet |" in scoreboard([paper])


def test_page_lists_claims_decided_ones_first_and_escapes_names(tmp_path: Path) -> None:
    write(project(tmp_path))
    text, page = ((tmp_path / "results" / name).read_text() for name in ("README.md", "index.html"))
    rows = [line for line in text.splitlines() if line.endswith("[toy](toy) |")]
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| b", "holds"],
        ["| c", "refuted"],
        ["| a <b>", "undecided (9 networks would decide)"],
    ]
    assert "a &lt;b&gt;" in page
    assert "a <b>" not in page
    assert "always &amp; ever" in page
    assert "| [toy](toy) | 2 x net | 3 | 12 | quick | 50.0% to 75.0% | cpu | 0123456 |" in text
    top = (tmp_path / "README.md").read_text()
    assert top.startswith("top\n<!-- scoreboard -->\n\n| |")
    assert top.endswith("| 1 | 1 | 1 | It holds in part. |\n\n<!-- end of scoreboard -->\nbottom\n")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    write(tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before


def test_claims_name_the_command_of_the_record(tmp_path: Path) -> None:
    record = project(tmp_path) / "results" / "toy" / "provenance.json"
    record.write_text(
        json.dumps({**json.loads(record.read_text()), "command": "python run.py experiment=toy scale=day"})
    )
    write(tmp_path)
    page = (tmp_path / "results" / "index.html").read_text()
    made = re.findall(r'<a href="toy/index.html">toy</a><br><code>(.*?)</code>', page)
    assert made == ["python run.py experiment=toy scale=day"] * 3


def test_links_of_the_committed_front_page_lead_somewhere() -> None:
    results = ROOT / "results"
    links = set(re.findall(r'href="([^"#:]+)', (results / "index.html").read_text()))
    assert len(links) > 40
    assert [link for link in sorted(links) if not (results / link).exists()] == []


def test_open_claims_count_as_open() -> None:
    verdicts = ("holds", "undecided", "underpowered", "post hoc")
    claims = [Claim(str(place), "", "toy", "", "", verdict) for place, verdict in enumerate(verdicts)]  # type: ignore[arg-type]
    assert "| 1 | 0 | 2 | so |" in scoreboard([Paper("paper", "Toy", "so", claims)])


def test_ranks_follow_the_direction_and_leave_small_columns_out(tmp_path: Path) -> None:
    names = [*(f"method_{number}" for number in range(8)), "random", "oracle"]
    higher = {name: place / 10 for place, name in enumerate(names)}
    means = {"average_precision": higher, "deletion_blur": higher, "iou_best": dict(list(higher.items())[:5])}
    table = score_table(["net"], means, lower=["deletion_blur"])
    (tmp_path / "mnist").mkdir()
    table.to_csv(tmp_path / "mnist" / "table.csv", index=False)
    found = ranks(tmp_path)
    assert list(found) == [("data", "net", "average_precision"), ("data", "net", "deletion_blur")]
    assert list(found.index[-2:]) == ["random", "oracle"]
    up, down = (found["data", "net", metric] for metric in ("average_precision", "deletion_blur"))
    assert up["oracle"] == 1
    assert down["method_0"] == 1
    assert (up + down == 11).all()
    assert ranks_figure(found).axes


def test_equal_means_share_their_rank_and_rare_methods_come_after_the_others(tmp_path: Path) -> None:
    equal = {f"method_{number}": 0.5 for number in range(10)}
    means = {"average_precision": {**equal, "rare": 0.9}, "iou_best": equal, "deletion_blur": equal}
    (tmp_path / "mnist").mkdir()
    score_table(["net"], means).to_csv(tmp_path / "mnist" / "table.csv", index=False)
    found = ranks(tmp_path)
    assert list(found.index) == [*equal, "rare"]
    assert (found["data", "net", "iou_best"].dropna() == 5.5).all()


def test_quality_has_passes_of_both_kinds(tmp_path: Path) -> None:
    table = quality(project(tmp_path) / "results")
    assert (table["passes"] == 3).all()
    assert table.loc["method_7", "mean"] == pytest.approx(0.35)
    assert cost_figure(table).axes


def test_committed_front_page_is_up_to_date(tmp_path: Path) -> None:
    # Pictures are not copied, except those of the gallery: only their names are read.
    for name in ("experiments", "results"):
        for file in (ROOT / name).rglob("*.*"):
            copy = tmp_path / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            by_name = file.suffix in (".webp", ".png", ".zip") and file.parent.name != "tiles"
            copy.touch() if by_name else shutil.copy(file, copy)
    shutil.copy(ROOT / "README.md", tmp_path)
    write(tmp_path)
    for name in ("README.md", "results/README.md", "results/index.html", "results/overview/ranks.csv"):
        # A clone without history does not know the days of commits.
        written, known = (re.sub(r", \d{4}-\d\d-\d\d", "", (root / name).read_text()) for root in (tmp_path, ROOT))
        assert written == known, f"{name}: run python run.py task=overview"
    again, committed = (_levels(root / "results" / "overview" / "teaser.webp") for root in (tmp_path, ROOT))
    assert again.shape == committed.shape
    assert np.abs(again - committed).mean() < 2  # another version of a library moves a letter by some pixels


def _levels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"), float)


def test_committed_front_page_agrees_with_the_pages_of_the_papers() -> None:
    for paper in papers(ROOT):
        text = (ROOT / "experiments" / paper.name / "README.md").read_text()
        stated = {verdict: int(count) for verdict, count in re.findall(r"^- \*(\w+)\* \((\d+)\)", text, re.MULTILINE)}
        for verdict, count in stated.items():
            assert paper.count(verdict) == count, f"{paper.name}: run python experiments/{paper.name}/claims.py"
        assert BEGIN in text
        assert paper.finding or not paper.claims


def test_every_experiment_has_a_card_whose_picture_exists() -> None:
    found = cards(ROOT / "results")
    assert len(found) == len(list((ROOT / "results").rglob("provenance.json")))
    for card in found:
        assert card.picture == "" or (ROOT / "results" / card.picture).is_file()
        models = json.loads((ROOT / "results" / card.name / "provenance.json").read_text())["models"]
        assert all(model["model"] in card.networks for model in models)
        assert models
    text = (ROOT / "results" / "README.md").read_text()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / "results" / link).exists(), link


def test_figures_show_titles_of_configs(tmp_path: Path) -> None:
    folder = tmp_path / "conf" / "explainer"
    (folder / "variants").mkdir(parents=True)
    (folder / "method_1.yaml").write_text("name: method_1\ntitle: Method-I\n")
    (folder / "variants" / "two.yaml").write_text("explainer:\n  name: method_2\n  title: Method-II\n")
    (folder / "method_3.yaml").write_text("name: method_3\n")
    titles = titles_of_configs(folder)
    assert titles == {"method_1": "Method-I", "method_2": "Method-II"}
    results = project(tmp_path / "project") / "results"
    shown = [label.get_text() for label in ranks_figure(ranks(results), titles).axes[0].get_yticklabels()]
    assert {"Method-I", "Method-II", "method 3"} <= set(shown)
    named = [text.get_text() for text in cost_figure(quality(results), titles).axes[0].texts]
    assert {"Method-I", "Method-II", "method 3"} <= set(named)


@pytest.mark.skipif(executable() is None, reason="no Chromium is installed; the page is not opened")
@pytest.mark.parametrize("dark", [False, True])
def test_page_fits_on_a_phone_and_is_dark_for_those_who_want_it(tmp_path: Path, dark: bool) -> None:
    write(project(tmp_path))
    with page() as opened:
        opened.resize(390, 900, dark)
        opened.open((tmp_path / "results" / "index.html").as_uri())
        assert opened.run("[...document.querySelectorAll('.wide')].every(e => e.scrollWidth <= e.clientWidth)")
        assert opened.run("document.documentElement.scrollWidth") == 390
        colours = opened.run(
            "(() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]; })()"
        )
        ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
        assert (ink > paper) == dark
        assert opened.complaints == []
