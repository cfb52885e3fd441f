"""Names of explainers as tables and figures show them."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from entry_point import ROOT
from report_samples import finished_cell

from evident.report.experiment import Experiment

FILES = sorted((ROOT / "conf" / "explainer").rglob("*.yaml"))


def title_of(file: Path) -> str:
    config = yaml.safe_load(file.read_text())
    config = config.get("explainer", config)
    return str(config.get("title") or config["name"].replace("_", " "))


def test_every_explainer_has_a_title_of_its_own() -> None:
    assert {title: count for title, count in Counter(map(title_of, FILES)).items() if count > 1} == {}
    assert not [title for title in map(title_of, FILES) if "_" in title]


def test_variant_of_an_explainer_with_a_title_states_its_own() -> None:
    titled = {file.stem for file in FILES if "title" in yaml.safe_load(file.read_text())}
    for file in FILES:
        config = yaml.safe_load(file.read_text())
        bases = {str(base).split("@")[0].rpartition("/")[2] for base in config.get("defaults", [])}
        assert "title" in config or not bases & titled, file


@pytest.mark.parametrize(
    ("config", "title"),
    [
        ({}, "grad cam"),
        ({"explainer": {"title": "Grad-CAM"}}, "Grad-CAM"),
        ({"explainer": {"title": "Grad-CAM"}, "row": "grad_cam, 5 masks"}, "Grad-CAM, 5 masks"),
    ],
)
def test_title_is_that_of_the_config_or_the_name_in_words(tmp_path: Path, config: dict, title: str) -> None:
    assert finished_cell(tmp_path, "grad_cam", config=config).title == title


def test_explainers_that_share_a_title_keep_their_names(tmp_path: Path) -> None:
    shared = {"explainer": {"title": "Grad-CAM"}}
    cells = [finished_cell(tmp_path, name, config=shared) for name in ("grad_cam", "my_cam")]
    cells.append(finished_cell(tmp_path, "rise", config={"explainer": {"title": "RISE"}}))
    assert Experiment(cells).titles == {"grad_cam": "grad cam", "my_cam": "my cam", "rise": "RISE"}
