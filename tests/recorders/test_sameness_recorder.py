"""How similar the heatmaps of different images are."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evident.cell_folder import SAMENESS, CellFolder
from evident.recorders.sameness import Sameness


def kept(heatmaps: Tensor, folder: Path, sizes: list[int] | None = None) -> dict[str, float | None]:
    setup: Any = None
    recorder = Sameness(setup)
    for part in heatmaps.split(sizes or [len(heatmaps)]):
        explained: Any = SimpleNamespace(explanation=SimpleNamespace(heatmap=part))
        recorder.record(explained)
    recorder.save(CellFolder(folder))
    return CellFolder(folder).read(SAMENESS)


@pytest.mark.parametrize("sizes", [[7], [1, 6], [2, 2, 3]])
def test_correlation_is_the_mean_over_all_pairs(tmp_path: Path, sizes: list[int]) -> None:
    heatmaps = torch.rand(7, 4, 5, generator=torch.Generator().manual_seed(0)) + torch.linspace(0, 2, 5)
    matrix = np.corrcoef(heatmaps.flatten(1).double().numpy())
    expected = matrix[np.triu_indices(7, 1)].mean()
    assert kept(heatmaps, tmp_path, sizes) == {"correlation": pytest.approx(expected), "constant": 0}


def test_same_map_at_any_scale_has_a_correlation_of_one(tmp_path: Path) -> None:
    scales = torch.tensor([1.0, 5, 0.01]).view(3, 1, 1)
    found = kept(scales * torch.rand(4, 4) + scales, tmp_path)
    assert found == {"correlation": pytest.approx(1), "constant": 0}


def test_constant_maps_are_counted_and_left_out(tmp_path: Path) -> None:
    heatmaps = torch.rand(4, 3, 3)
    heatmaps[0], heatmaps[2] = 0, 0.1
    expected = np.corrcoef(heatmaps[1].flatten(), heatmaps[3].flatten())[0, 1]
    assert kept(heatmaps, tmp_path) == {"correlation": pytest.approx(expected, abs=1e-6), "constant": 0.5}


def test_single_image_has_no_correlation(tmp_path: Path) -> None:
    assert kept(torch.rand(1, 3, 3), tmp_path) == {"correlation": None, "constant": 0}
