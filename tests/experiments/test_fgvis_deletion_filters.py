"""The comparison of the filters in the deletion game: its numbers on a small network."""

import importlib.util
from typing import Any

import pytest
import torch
from entry_point import ROOT
from samples import kaiming, smooth_noise

from evident.models.flower_net import FlowerNet


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("deletion_filters", ROOT / "experiments/fgvis/deletion_filters.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_filters_agree_at_the_image_and_the_plain_gradient_with_itself(script: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(script, "SHOWN", (0, 1))
    model, images = kaiming(FlowerNet(4)).eval().requires_grad_(False), smooth_noise(2)
    rows = script.follow(model, images, model(images).argmax(1), "published")
    assert [(row["step"], row["filter"]) for row in rows] == [(s, kind) for s in (0, 1) for kind in script.FILTERS]
    for row in rows:
        if row["step"] == 0 or row["filter"] == "none":
            assert [row[name] for name in ("norm", "cosine", "drop", "equal")] == pytest.approx([1] * 4, rel=1e-4)
    assert [rows[0]["p"], rows[0]["above"]] == pytest.approx([1, 0], abs=1e-5)
    assert rows[4]["norm"] < 1
    assert 0 < rows[4]["above"] < 1


def test_faded_image_has_neurons_above_their_bounds(script: Any) -> None:
    model, images = kaiming(FlowerNet(4)).eval().requires_grad_(False), smooth_noise(2)
    with torch.no_grad():
        for layer in model.features:
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.bias.add_(0.3)
    rows = script.faded(model, images, torch.tensor([0, 1]))
    assert len(rows) == 9
    assert all(0 < row["above"] < 1 for row in rows)
    assert all(row["cosine"] == pytest.approx(1) for row in rows if row["filter"] == "none")
