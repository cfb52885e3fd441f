"""The section that puts the metrics of an experiment on trial."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from entry_point import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf
from report_samples import finished_cell, image_scores

from evident.cell_folder import DIRECTIONS, EXAMPLES, SCORES, Product
from evident.report.experiment import Cell, Experiment
from evident.report.figures.files import encode
from evident.report.sections.trial import Trial

LEVELS = {"gradient": 0.2, "vebi": 0.5, "grad_cam": 0.6, "rise": 0.7, "fgvis": 0.8, "lime": 0.9}
STEPS = {f"corrupted_oracle_shift_{step}": 1 - 0.2 * step for step in (1, 2, 3)}
DIRECTION = {
    "part_order": "higher",
    "insertion_blur": "higher",
    "deletion_blur": "lower",
    "deletion_mean_colour": "lower",
    "gini": "neither",
}


@pytest.fixture
def section() -> Trial:
    configured = OmegaConf.load(ROOT / "conf" / "section" / "trial.yaml").trial
    made = instantiate(configured)
    assert isinstance(made, Trial)
    return made


def cells(root: Path, truth: str = "part_order") -> list[Cell]:
    """Return cells of two networks whose scores follow the levels above; deletion falls where the truth rises."""
    draw = np.random.default_rng(0)
    made: list[Cell] = []
    for explainer, level in {**LEVELS, **STEPS, "oracle": 1.0, "random": 0.0}.items():
        for seed in (0, 1):
            values = {
                truth: level,
                "deletion_blur": -level,
                "deletion_mean_colour": -level,
                "insertion_blur": level,
                "gini": level,
            }
            frames = [
                image_scores(metric, list(value + 0.1 * draw.standard_normal(6)), explainer=explainer, seed=seed)
                for metric, value in values.items()
            ]
            maps = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(len(made)))
            products: dict[Product[Any], Any] = {
                SCORES: pd.concat(frames),
                DIRECTIONS: DIRECTION | {truth: "higher"},
                EXAMPLES: {"heatmaps": maps},
            }
            step = {"corruption": {"kind": "shift", "dose": round(1 - level, 1)}} if explainer in STEPS else {}
            made.append(finished_cell(root, explainer, seed=seed, products=products, config={"explainer": step}))
    return made


def test_report_says_which_metric_agrees_with_the_truth(tmp_path: Path, section: Trial) -> None:
    part = section.report(Experiment(cells(tmp_path)))
    validity: Any = part.tables["validity"].set_index("metric")
    assert validity.loc["deletion_blur", "tau"] > 0.8
    assert validity.loc["planted_perfect_parts", "tau"] > 0.9
    assert "gini" not in validity.index  # no direction
    assert validity.loc["planted_sparsity", "tau"] > 0.8  # these maps are the sparser the better
    assert part.tables["doses"]["kind"].unique().tolist() == ["shift"]
    assert part.tables["between_references"]["metric"].tolist() == ["deletion", "deletion"]
    assert "### Truth: parts (`part_order`), net" in part.text
    [row] = [line for line in part.text.splitlines() if line.startswith("| deletion_blur |")]
    assert "0% of" in row  # of the pairs with the random row
    assert "1 of 1" in row  # kind of corruption that lowers the score
    assert "Krippendorff's alpha" in part.text
    for figure in part.figures.values():
        suffix, content = encode(figure)
        assert suffix == ".webp"
        assert len(content) > 1000
    assert {"validity", "doses_net", "reliability_net", "agreement_metrics"} <= part.figures.keys()
    explainers = part.tables["agreement_explainers_photos_net"]
    assert sorted(explainers["explainer"]) == sorted([*LEVELS, "random"])


def test_experiment_without_a_truth_has_no_trial(tmp_path: Path, section: Trial) -> None:
    part = section.report(Experiment(cells(tmp_path, truth="iou")))
    assert not part.tables
    assert not part.text


def test_patterns_of_families_fit_explainers_that_exist(section: Trial) -> None:
    names = [OmegaConf.load(file).name for file in sorted((ROOT / "conf" / "explainer").glob("*.yaml"))]
    families = {name: [own for own in names if _fits(own, patterns)] for name, patterns in section.families.items()}
    assert all(families.values())
    alone = set(names) - set().union(*families.values())
    assert alone == {"oracle", "attention_rollout", "attention_relevance"}


def _fits(name: str, patterns: list[str]) -> bool:
    from fnmatch import fnmatch

    return any(fnmatch(name, pattern) for pattern in patterns)
