"""Scores that are kept in one file: what comes back, and that the tables made of it are the same."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from report_samples import finished_cell, image_scores

from evident.cell_folder import COST, DIRECTIONS, EXAMPLES, FEATURES, INTERPRETATION, NETWORK, SCORES
from evident.errors import UserError
from evident.report.experiment import Cell, Experiment
from evident.report.kept_scores import ALL_IMAGES, encoded, file_of, keep, not_kept, restored
from evident.report.tables import scores as tables
from evident.report.tables.features import with_interpretation


def cell_of(root: Path, explainer: str, seed: int, axis: str = "pixels") -> Cell:
    """Return a cell with a score and a curve of three points; one image has no score."""
    labels: dict[str, Any] = {"explainer": explainer, "seed": seed}
    shift = seed / 7 + len(explainer) / 3
    scores = [image_scores("deletion", [0.1 + shift, 0.2 / 3, math.nan], **labels)]
    scores += [
        image_scores("deletion", [at / 3 + shift, at / 7, math.nan], axis, at, **labels) for at in (0.0, 0.5, 1.0)
    ]
    scores.append(image_scores("iou_best", [0.3, 0.4, 0.5], **labels))
    cell = finished_cell(
        root,
        explainer,
        seed=seed,
        products={
            SCORES: pd.concat(scores, ignore_index=True),
            DIRECTIONS: {"deletion": "lower", "iou_best": "higher"},
            COST: {"images": 3.0, "seconds": 0.1 * seed},
            EXAMPLES: {"heatmaps": torch.rand(3, 4, 4)},
        },
    )
    (cell.folder.path / "environment.json").write_text('{"torch": "2"}')
    return cell


def text(experiment: Experiment) -> str:
    parts = [
        tables.table(experiment.scores, experiment.directions),
        tables.significance(experiment.scores),
        tables.curves(experiment.scores),
    ]
    return "".join(part.to_csv(index=False, float_format="%.6g") for part in parts)


def kept_again(cells: list[Cell], file: Path) -> tuple[str, pd.DataFrame]:
    """Return the tables of the cells as they are kept, and their scores."""
    keep(Experiment(cells), {}, file)
    with restored(file) as kept:
        again = Experiment([Cell(cell.config, kept.folders[cell.folder.path.name]) for cell in cells], kept.audits)
        return text(again), again.scores


def kept_of(root: Path) -> Path:
    """Return the file that keeps the scores of one cell."""
    keep(Experiment([cell_of(root, "rise", 0)]), {}, root / "kept.zip")
    return root / "kept.zip"


def test_tables_of_kept_scores_are_the_same(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, name, seed) for name in ("rise", "grad_cam") for seed in (0, 1, 2)]
    again, scores = kept_again(cells, tmp_path / "kept.zip")
    assert again == text(Experiment(cells))
    # Three networks: points of curves are means over the images.
    assert set(scores[scores["at"].notna()]["image"]) == {ALL_IMAGES}
    assert set(scores[scores["at"].isna()]["image"]) == {"0", "1", "2"}


def test_curves_over_features_keep_every_image(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, "rise", seed, "features") for seed in (0, 1)]
    again, scores = kept_again(cells, tmp_path / "kept.zip")
    assert again == text(Experiment(cells))
    pd.testing.assert_frame_equal(scores, Experiment(cells).scores)


def test_curves_of_one_network_are_not_kept(tmp_path: Path) -> None:
    """Their intervals are over images; `curves.csv.gz` stays as it is, also if the scores have curves over features."""
    cells = [cell_of(tmp_path, "rise", 0), cell_of(tmp_path, "vebi", 0, "features")]
    assert not_kept(Experiment(cells)) == ("curves",)
    assert not_kept(Experiment([cell_of(tmp_path / "two", "rise", seed) for seed in (0, 1)])) == ()
    _, scores = kept_again(cells, tmp_path / "kept.zip")
    whole = Experiment(cells).scores
    kept = whole["at"].isna() | (whole["axis"] == "features")
    pd.testing.assert_frame_equal(scores, whole[kept].reset_index(drop=True))


def test_report_without_curves_keeps_none_over_pixels(tmp_path: Path) -> None:
    for axis, kept in (("pixels", 0), ("features", 9)):
        cell = cell_of(tmp_path / axis, "rise", 0, axis)
        OmegaConf.update(cell.config, "section.scores.curves", False, force_add=True)
        _, scores = kept_again([cell], tmp_path / "scores.zip")
        assert scores["at"].notna().sum() == kept
        assert set(scores.loc[scores["at"].isna(), "metric"]) == {"deletion", "iou_best"}


def test_equal_contents_are_kept_once_and_equal_cells_give_equal_bytes(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path / "cells", name, 0) for name in ("rise", "grad_cam")]
    for name in ("a", "b"):
        keep(Experiment(cells), {"0": ("vebi", "net on photos", "it has no layers")}, file_of(tmp_path, name))
    assert file_of(tmp_path, "a").read_bytes() == file_of(tmp_path, "b").read_bytes()
    with restored(file_of(tmp_path, "a")) as kept:
        assert kept.left_out == {"0": ("vebi", "net on photos", "it has no layers")}
        for cell in cells:
            folder = kept.folders[cell.folder.path.name]
            assert folder.read(NETWORK) == cell.folder.read(NETWORK)
            assert folder.read(COST) == cell.folder.read(COST)
            assert folder.environment() == cell.folder.environment()
            assert not folder.has(EXAMPLES)
        place = folder.path
    assert not place.exists()


def test_features_are_kept_with_what_their_images_show(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, "vebi", 0)
    features = pd.DataFrame({"target": [0, 1], "class": ["a", "b"], "place": [3, 5], "control": [5, 3]})
    interpretation = {
        "places": torch.tensor([3, 5]),
        "labels": torch.tensor([[0, 1, 0], [1, 1, -1]]),
        "evidence": torch.tensor([[0.25, 0.1, 0.7], [0.5, math.nan, 1 / 3]]),
    }
    cell.folder.write(FEATURES, features)
    cell.folder.write(INTERPRETATION, interpretation)
    keep(Experiment([cell]), {}, tmp_path / "kept.zip")
    with restored(tmp_path / "kept.zip") as kept:
        again = kept.folders[cell.folder.path.name].read(FEATURES)
    whole = with_interpretation(features, interpretation)
    assert again.to_csv(float_format="%.6g") == whole.to_csv(float_format="%.6g")


def test_nothing_is_restored_without_a_file(tmp_path: Path) -> None:
    for file in (None, tmp_path / "none.zip"):
        with restored(file) as kept:
            assert not kept.folders


@pytest.mark.parametrize("lost", ["scores.parquet", "cells.json", "sources.json"])
def test_file_of_an_earlier_version_is_an_error_in_one_line(tmp_path: Path, lost: str) -> None:
    file = kept_of(tmp_path)
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if name != lost}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(UserError, match=rf"damaged or of an earlier version \(.*{lost}.*\); remove it"), restored(file):
        pass


def test_damaged_file_is_an_error_in_one_line(tmp_path: Path) -> None:
    file = kept_of(tmp_path)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged or of an earlier version"), restored(file):
        pass


def test_columns_other_than_the_values_take_little_room() -> None:
    draw = np.random.default_rng(0)
    frame = pd.concat([image_scores("iou", list(draw.random(500)), explainer=name) for name in "abcdefghij"])
    written = encoded(frame)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(written)), frame.reset_index(drop=True))
    plain = io.BytesIO()
    frame.to_parquet(plain, index=False, compression="zstd", compression_level=19)
    assert len(written) < 0.95 * len(plain.getvalue())
