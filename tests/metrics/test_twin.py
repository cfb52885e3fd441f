"""Agreement with a twin network: known correlations, scipy, and what a cell gives to the metric."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from captum.attr import Attribution
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from scipy.stats import pearsonr, spearmanr
from torch import Tensor, nn

from evident import cell, cli
from evident.cell_folder import SCORES, CellFolder
from evident.errors import UserError
from evident.explainers.reference_rows import Oracle
from evident.metrics.contract import Explanation
from evident.metrics.twin import twin_agreement

nan = math.nan


class Weighted(nn.Module):
    """Hold the map that an explainer shows."""

    def __init__(self, shown: Tensor) -> None:
        super().__init__()
        self.shown = shown


class Shows(Attribution):
    """Return the map of the network."""

    heatmap = staticmethod(lambda attribution: attribution.sum(1))

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        assert isinstance(model, Weighted)
        self.model = model

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        return self.model.shown[:, None]


def scores(first: Tensor, second: Tensor, rebuild: Callable[..., Attribution] = Shows) -> tuple[list, list]:
    """Return both scores of heatmaps (N, H, W) of a network and of its twin."""
    images, target = torch.zeros(len(first), 3, *first.shape[1:]), torch.zeros(len(first)).long()
    explanation = Explanation(images, target, first, first > 0, rebuild=rebuild, twin=Weighted(second))
    result = twin_agreement(explanation)
    assert list(result) == ["twin_agreement_pearson", "twin_agreement_spearman"]
    assert all(score.dtype == torch.float64 for score in result.values())
    pearson, spearman = (score.tolist() for score in result.values())
    return pearson, spearman


def maps(seed: int, ties: bool = False) -> Tensor:
    drawn = torch.randn(4, 5, 7, generator=torch.Generator().manual_seed(seed))
    return drawn.round() if ties else drawn


def test_equal_maps_in_other_units_agree_and_inverted_ones_disagree() -> None:
    assert scores(maps(0), 3 * maps(0) + 1) == (pytest.approx([1] * 4), pytest.approx([1] * 4))
    assert scores(maps(0), -maps(0)) == (pytest.approx([-1] * 4), pytest.approx([-1] * 4))


def test_monotone_change_keeps_the_ranks_only() -> None:
    pearson, spearman = scores(maps(0), maps(0).exp())
    assert max(pearson) < 0.99
    assert spearman == pytest.approx([1] * 4)


@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_those_of_scipy(ties: bool) -> None:
    first, second = maps(0, ties), maps(0, ties) + maps(1, ties)
    for found, theirs in zip(scores(first, second), (pearsonr, spearmanr), strict=True):
        rows = zip(first.flatten(1).double().numpy(), second.flatten(1).double().numpy(), strict=True)
        assert found == pytest.approx([theirs(*row).statistic for row in rows])


def test_constant_and_non_finite_maps_are_nan() -> None:
    first, second = maps(0), maps(1)
    first[0], second[1] = 0.1, 0
    first[2, 0, 0] = nan
    for found in scores(first, second):
        assert [math.isnan(score) for score in found] == [True, True, True, False]


def test_mask_is_passed_to_explainers_that_need_it() -> None:
    first = (maps(0) > 0).float()
    assert scores(first, maps(1), Oracle) == (pytest.approx([1] * 4), pytest.approx([1] * 4))


def test_missing_fields_are_named() -> None:
    heatmap = torch.ones(1, 4, 4)
    with pytest.raises(UserError, match="give rebuild and twin"):
        twin_agreement(Explanation(torch.zeros(1, 3, 4, 4), torch.zeros(1).long(), heatmap, rebuild=Shows))


def config(store: Path, *overrides: str) -> DictConfig:
    cli.prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", ["scale=smoke", f"paths.store={store}", "logger=none", "threads=1", *overrides])


def test_cell_trains_a_twin_and_stores_what_the_explainer_learns_of_it(tmp_path: Path) -> None:
    settings = config(tmp_path, "metric=[twin_agreement]", "explainer=vebi", "explained.batch_size=2")
    cell.run(settings)
    assert not list(tmp_path.glob("cells/*/FAILED"))
    [folder] = [CellFolder(done.parent) for done in tmp_path.glob("cells/*/DONE")]
    values = folder.read(SCORES)["value"]
    assert len(values) == 2 * 4
    assert values.abs().max() < 1
    learned = {done: done.stat().st_mtime_ns for done in tmp_path.glob("relevance/*/DONE")}
    assert len(learned) == len(list(tmp_path.glob("models/*/DONE"))) == 2
    # The twin's own cell finds its network and what was learned of it.
    cell.run(config(tmp_path, "metric=[gini]", "explainer=vebi", "seed=1"))
    assert {done: done.stat().st_mtime_ns for done in tmp_path.glob("relevance/*/DONE")} == learned
    assert len(list(tmp_path.glob("models/*/DONE"))) == 2
