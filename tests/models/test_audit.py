"""The audit for leaks: known shares for networks that use the evidence, something else, or both."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from entry_point import run
from torch import Tensor, nn

from evident.data.an8flower import RenderedFlowers, an8flower
from evident.data.render.flowers import REACH
from evident.models.audit import Audit, audit
from evident.values import ChangedImages


class Reads(nn.Module):
    """Predict the class that a function reads from images in [0, 1]."""

    def __init__(self, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.read = read

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot(self.read(images).long(), 4).float()


def marked(images: Tensor) -> Tensor:
    """The evidence: the red of the first pixel, in quarters."""
    return (images[:, 0, 0, 0] * 255 / 60).round()


def corner(images: Tensor) -> Tensor:
    return (images[:, 0, 3, 3] * 255 / 60).round()


def changed() -> ChangedImages:
    """Four classes by the first pixel; the last pixel leaks them, and stays when the evidence changes."""
    labels = torch.arange(40) % 4
    images = torch.zeros(40, 3, 4, 4, dtype=torch.uint8)
    images[:, :, 0, 0] = images[:, :, 3, 3] = labels[:, None].byte() * 60
    recoloured, surrounded, grey = images.clone(), images.clone(), images.clone()
    recoloured[:, :, 0, 0] = (labels[:, None].byte() + 1) % 4 * 60
    surrounded[:, :, 3, 3] = images.roll(-1, 0)[:, :, 3, 3]
    grey[:, :, 0, 0] = 0
    return ChangedImages(images, labels, recoloured, (labels + 1) % 4, surrounded, grey)


def test_network_that_reads_the_evidence_passes() -> None:
    found = audit(Reads(marked), changed(), classes=4, batch_size=7)
    assert found == Audit(40, 4, accuracy=1, recoloured=1, surrounded=0, grey=0.25)
    assert found.passed


def test_network_that_reads_a_leak_does_not_pass() -> None:
    found = audit(Reads(corner), changed(), classes=4)
    assert found == Audit(40, 4, accuracy=1, recoloured=0, surrounded=1, grey=1)
    assert not found.passed


@pytest.mark.parametrize(
    ("shares", "passed"),
    [
        ({"recoloured": 0.99, "surrounded": 0.01, "grey": 0.25}, True),
        ({"recoloured": 0.9899}, False),
        ({"surrounded": 0.0101}, False),
        ({"grey": 0.25 + 0.0649}, True),  # three standard errors of 400 images: 0.06495
        ({"grey": 0.25 + 0.0650}, False),
    ],
)
def test_limits(shares: dict[str, Any], passed: bool) -> None:
    best = Audit(400, 4, accuracy=1, recoloured=1, surrounded=0, grey=0.25)
    assert replace(best, **shares).passed is passed


@pytest.mark.parametrize("variant", ["single-6c", "double-12c"])
def test_changed_flowers_differ_where_they_should(variant: str, tmp_path: Path) -> None:
    splits = an8flower(variant, 1, 1, 13, 0, "rendered", 48, root=tmp_path, store=tmp_path)
    assert isinstance(splits, RenderedFlowers)
    found = splits.changed_images()
    part = nn.functional.max_pool2d(splits.test.masks[:, None].float(), 2 * REACH + 1, 1, REACH) > 0
    assert (found.new_labels != found.labels).all()
    assert (found.new_labels // 6 == found.labels // 6).all()  # another colour of the same part
    for images in (found.recoloured, found.grey):
        differs = (images != found.images).any(1, keepdim=True)
        assert not (differs & ~part).any()
        assert (differs & part).flatten(1).any(1).all()
    assert torch.equal(torch.where(part, found.surrounded, 0), torch.where(part, found.images, 0))
    elsewhere = found.grey.roll(-1, 0)
    assert torch.equal(torch.where(part, 0, found.surrounded), torch.where(part, 0, elsewhere))
    spread = found.grey.amax(1, keepdim=True) - found.grey.amin(1, keepdim=True)
    assert (spread[part] == 0).all()


def test_task_writes_a_row_for_each_seed(tmp_path: Path) -> None:
    given = ("task=audit", "scale=smoke", "audit.seeds='0,1'", f"paths.results={tmp_path}/results")
    ended = run(*given, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(tmp_path / "results" / "audit" / "an8flower_single_6c.csv")
    assert table["seed"].tolist() == [0, 1]
    assert table["network"].nunique() == 2
    assert set(table["n"]) == {12}
    assert (
        table[["accuracy", "recoloured", "surrounded", "grey"]]
        .apply(lambda shares: shares.between(0, 1))
        .all(axis=None)
    )


@pytest.mark.real_data
def test_task_names_data_whose_evidence_cannot_be_changed(tmp_path: Path) -> None:
    ended = run("task=audit", "scale=smoke", "experiment=mnist", store=tmp_path)
    assert ended.returncode == 1
    expected = "data=mnist cannot show other evidence; task=audit needs rendered flowers"
    assert ended.stderr.splitlines()[-1] == expected
