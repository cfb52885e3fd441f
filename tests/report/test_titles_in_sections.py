"""No section shows the name of a config where its explainer has a title: neither in tables to read nor in figures."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from entry_point import ROOT
from hydra.utils import instantiate
from matplotlib.text import Text
from omegaconf import OmegaConf
from report_samples import ATTRIBUTES, attribute_curves, finished_cell, image_scores, predictions

from evident.cell_folder import (
    CONTRIBUTIONS,
    COST,
    DIRECTIONS,
    EVIDENCE,
    EXAMPLES,
    FEATURE_MAPS,
    FEATURES,
    INTERPRETATION,
    NETWORK,
    OUTCOMES,
    PREDICTIONS,
    SAMENESS,
    SCORES,
    Product,
)
from evident.relevance.relevance import Relevance
from evident.report.build import write
from evident.report.experiment import Cell, Experiment
from evident.report.sections.contract import Part
from evident.report.tables.sanity import MEASURES

TITLES = {
    "grad_cam_pp": "Grad-CAM++",
    "vebi_mu_1": "VEBI, μ = 1",
    "fgvis_one_sided": "FGVis one-sided",
    "rise": "RISE",
    "random": "random numbers",
    "oracle": "oracle",
}
REFERENCES = ("random", "oracle")
# Sections that name no explainer in text or figures; the names in a gallery are tested with it.
NAMELESS = {"audit", "cost", "features", "gallery", "networks", "precision"}
METRICS = {
    **dict.fromkeys(("average_precision", "part_order", "insertion_blur", "gini", "grid_energy"), ""),
    **dict.fromkeys(("colour_grey", "colour_swap"), ""),
    **{f"defence_{kind}_reached": "" for kind in ("predicted", "nearest", "least_likely", "random")},
    "deletion_blur": "pixels",
    **{f"ablation_{choice}": "features" for choice in ("relevant", "random", "least")},
    **{f"cascading_{measure}": "depths" for measure in MEASURES},
}
CLASSES = ["petals red", "petals blue"]
IMAGES, SIDE = 4, 16


def scores_of(**labels: Any) -> pd.DataFrame:
    """Return scores of all sections that read them, curves where a score has one, and curves over attributes."""
    draw = np.random.default_rng(0)
    parts = []
    for metric, axis in METRICS.items():
        parts.append(image_scores(metric, list(draw.random(IMAGES)), **labels).assign(target=[0, 1, 0, 1]))
        parts += [image_scores(metric, list(draw.random(IMAGES)), axis, at, **labels) for at in (0.5, 1.0) if axis]
    for metric in ("removal_true", "removal_network", "removal_faithful"):
        parts.append(attribute_curves(metric, draw.random((IMAGES, len(ATTRIBUTES))).tolist(), **labels))
    return pd.concat(parts, ignore_index=True)


def tensors() -> dict[Product[Any], Any]:
    """Return what a cell keeps of its images, for every section."""
    torch.manual_seed(0)
    weights = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double()
    table = Relevance({"conv": 2}, weights, weights).table(CLASSES).assign(control=1)
    pictures = torch.randint(256, (IMAGES, 3, SIDE, SIDE)).byte()
    return {
        EXAMPLES: {
            "images": pictures,
            "heatmaps": torch.rand(IMAGES, SIDE, SIDE),
            "target": torch.tensor([0, 1, 0, 1]),
        },
        EVIDENCE: {
            **{name: pictures.clone() for name in ("explanation", "complement", "mask")},
            **{name: torch.rand(IMAGES) for name in ("score", "explanation_score", "complement_score", "mask_share")},
        },
        FEATURES: table,
        FEATURE_MAPS: {
            "maps": torch.rand(IMAGES, 1, SIDE, SIDE),
            "features": torch.zeros(IMAGES, 1).long(),
            "shares": torch.ones(IMAGES, 1),
        },
        INTERPRETATION: {
            "places": torch.tensor([0, 1]),
            "labels": torch.zeros(2, 4).long(),
            "evidence": torch.full((2, 4), 0.5),
            "crops": torch.randint(256, (2, 4, 3, 6, 6)).byte(),
            "crop": torch.randint(256, (2, 3, 6, 6)).byte(),
            "signal": torch.randint(256, (2, 6, 6)).byte(),
        },
        CONTRIBUTIONS: {
            "label": torch.full((IMAGES,), 3.0),
            "predicted": torch.arange(4.0),
            "own_map": torch.rand(IMAGES, 4, 4),
            "contributions": torch.rand(IMAGES, len(ATTRIBUTES)),
            "shown": torch.arange(IMAGES),
            "images": pictures,
            "attribute_maps": torch.rand(IMAGES, len(ATTRIBUTES), 4, 4),
        },
        PREDICTIONS: predictions(0),
    }


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Return cells with every product; no section is left without anything to show."""
    root, kept, cells = tmp_path_factory.mktemp("titles"), tensors(), list[Cell]()
    said = {"image": [f"{number}.png" for number in range(IMAGES)], "label": "petals red", "probability": 0.75}
    said |= {"predicted": "petals blue", "target": "petals red", "target_probability": 0.25}
    for explainer, title in TITLES.items():
        products: dict[Product[Any], Any] = {
            **kept,
            SCORES: scores_of(explainer=explainer),
            DIRECTIONS: {
                metric: "higher" for metric in [*METRICS, "removal_true", "removal_network", "removal_faithful"]
            },
            NETWORK: {"classes": CLASSES, "attributes": ATTRIBUTES},
            OUTCOMES: pd.DataFrame(said),
            SAMENESS: {"correlation": 0.2, "constant": 0.0},
            COST: {"images": 4, "seconds": 1.0, "forward_passes": 8, "backward_passes": 8, "peak_memory": 1},
        }
        config = {
            "explainer": {"title": title, "budget": "8 masks"},
            "experiment": "titles",
            "scale": {"name": "smoke"},
            "gallery": "results",
            "section": {},
            "paths": {"store": str(root)},
        }
        is_reference = explainer in REFERENCES
        cells.append(finished_cell(root, explainer, products=products, reference_row=is_reference, config=config))
        (cells[-1].folder.path / "environment.json").write_text("{}")
    return Experiment(cells)


def raw_names(text: str) -> list[str]:
    """Return the names of configs in a text, as such or in words, whose explainers have another title."""
    forms = {form for name in TITLES for form in (name, name.replace("_", " "))} - set(TITLES.values())
    for title in TITLES.values():  # "random" is a part of a title
        text = text.replace(title, "")
    return sorted(form for form in forms - {"random"} if re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text))


def shown_by(part: Part) -> dict[str, str]:
    """Return all that readers see of a section: its text, its captions, and the texts in each of its figures."""
    found = {"text": part.text, **{f"caption of {name}": caption for name, caption in part.captions.items()}}
    for name, figure in part.figures.items():
        figure.draw_without_rendering()  # writes the names of ticks
        found[name] = "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))
    return found


def test_raw_names_are_found_and_titles_are_not() -> None:
    assert raw_names("| grad_cam_pp | rise |\nvebi mu 1") == ["grad_cam_pp", "rise", "vebi mu 1"]
    assert raw_names("| Grad-CAM++ | VEBI, μ = 1 | my_rise |") == []


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "conf" / "section").glob("*.yaml")))
def test_every_section_shows_titles_only(name: str, experiment: Experiment) -> None:
    [section] = OmegaConf.load(ROOT / "conf" / "section" / f"{name}.yaml").values()
    part = instantiate(section).report(experiment)
    shown = shown_by(part)
    assert {place: found for place, text in shown.items() if (found := raw_names(text))} == {}
    assert name in NAMELESS or any(title in text for text in shown.values() for title in TITLES.values())
    for table in part.tables.values():  # what programs read
        assert "explainer" not in table or set(table["explainer"]) <= {*TITLES, ""}


def test_table_of_rows_that_were_left_out_shows_titles(tmp_path: Path, experiment: Experiment) -> None:
    text = write(experiment, tmp_path, [("grad_cam_pp", "net on photos", "no layer")], figures=False)
    assert "| Grad-CAM++ | net on photos | no layer |" in text
