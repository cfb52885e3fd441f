"""Passes in bfloat16: where they are used, and where not."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from samples import flower_net, smooth_noise
from torch import nn

from evident import cell, cli
from evident.cell_folder import EXAMPLES, SCORES, CellFolder
from evident.errors import UserError
from evident.models.precision import Passes, passes_in
from evident.request import Request


class Seen(nn.Module):
    """Return the type of number that a convolution computes in, as 1 for bfloat16, and keep the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.computed_in: torch.dtype | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.layer(images)
        self.computed_in = maps.dtype
        return maps.mean((2, 3))


def test_passes_are_in_the_precision_and_outputs_in_the_type_of_the_images() -> None:
    network, images = Seen(), torch.rand(2, 3, 8, 8)
    for precision, expected in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        with passes_in(network, Passes(precision)):
            assert network(images).dtype == torch.float32
        assert network.computed_in == expected
    network(images)
    assert network.computed_in == torch.float32


def test_network_is_restored_after_an_error_too() -> None:
    network = Seen()
    with pytest.raises(RuntimeError), passes_in(network, Passes("bf16-mixed")):
        network(torch.rand(2, 4, 8, 8))
    assert not torch.is_autocast_enabled("cpu")
    network(torch.rand(2, 3, 8, 8))
    assert network.computed_in == torch.float32


def test_interrupt_and_a_forward_of_the_user_leave_no_trace() -> None:
    def interrupted(images: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    network = Seen()
    network.__dict__["forward"] = interrupted
    with pytest.raises(KeyboardInterrupt), passes_in(network, Passes("bf16-mixed")):
        network(torch.rand(2, 3, 8, 8))
    assert not torch.is_autocast_enabled("cpu")
    assert network.__dict__["forward"] is interrupted


def test_what_is_computed_around_the_passes_keeps_its_precision() -> None:
    network, values = Seen(), torch.rand(8, 8)
    exact = values @ values
    with passes_in(network, Passes("bf16-mixed")):
        network(images=torch.rand(2, 3, 8, 8))
        assert torch.equal(values @ values, exact)


def test_scores_are_close_to_those_of_full_precision() -> None:
    network, images = flower_net(), smooth_noise(4)
    with torch.no_grad():
        full = network(images)
        with passes_in(network, Passes("bf16-mixed")):
            lower = network(images)
    assert not torch.equal(full, lower)
    torch.testing.assert_close(lower, full, rtol=0.05, atol=0.05)


def made(store: Path, explainer: str, precision: str) -> CellFolder:
    """Explain a few flowers at the smoke scale and return the folder of the cell."""
    cli.prepare()
    overrides = ["scale=smoke", f"paths.store={store}", f"explainer={explainer}", f"precision={precision}"]
    metrics = "metric=[average_precision,perturbation_mean_colour]"
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", [*overrides, metrics, "logger=none", "raise_errors=true"])
    cell.run(config)
    return CellFolder(Request(config).folder)


def test_maps_without_gradients_and_curves_are_in_the_precision_and_nothing_else(tmp_path: Path) -> None:
    folders = {
        (name, precision): made(tmp_path, name, precision)
        for name in ("gradient", "occlusion")
        for precision in ("32-true", "bf16-mixed")
    }
    assert len({folder.path for folder in folders.values()}) == 4
    for name, same in (("gradient", True), ("occlusion", False)):
        full, lower = (folders[name, precision] for precision in ("32-true", "bf16-mixed"))
        maps = [folder.read(EXAMPLES)["heatmaps"].float() for folder in (full, lower)]
        assert torch.equal(*maps) is same
        scores = [folder.read(SCORES).set_index(["metric", "image"]) for folder in (full, lower)]
        curves = [frame[frame["at"].isna()]["value"].loc["deletion_mean_colour"] for frame in scores]
        assert not curves[0].equals(curves[1])
        if same:
            assert scores[0].loc["average_precision"]["value"].equals(scores[1].loc["average_precision"]["value"])


def request_of(store: Path, *overrides: str) -> Request:
    cli.prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return Request(compose("config", ["scale=smoke", f"paths.store={store}", "logger=none", *overrides]))


def test_cell_is_named_by_what_is_computed_in_the_precision(tmp_path: Path) -> None:
    def name(precision: str, *overrides: str) -> Path:
        return request_of(tmp_path, f"precision={precision}", *overrides).folder

    maps, curves = ("metric=[gini]",), ("metric=[gini,perturbation_blur]",)
    assert name("bf16-mixed", "explainer=gradient", *maps) == name("32-true", "explainer=gradient", *maps)
    assert name("bf16-mixed", "explainer=gradient", *curves) != name("32-true", "explainer=gradient", *curves)
    with_gradients = "explainer=extremal_perturbation", *maps
    without = *with_gradients, "+explainer.forward_only=true"
    assert name("bf16-mixed", *with_gradients) != name("bf16-mixed", *without)


def test_compiled_passes_are_part_of_the_name_only_where_there_are_any(tmp_path: Path) -> None:
    def name(*overrides: str) -> Path:
        return request_of(tmp_path, *overrides).folder

    for explainer, metric, same in (("gradient", "gini", True), ("gradient", "road", False), ("rise", "gini", False)):
        cell = f"explainer={explainer}", f"metric=[{metric}]"
        assert (name(*cell, "compile=true") == name(*cell)) is same
    lower = "precision=bf16-mixed", "explainer=rise", "metric=[gini]"
    assert name(*lower, "compile=true") != name(*lower)
    with pytest.raises(UserError, match="compile=maybe is unknown; use true or false"):
        request_of(tmp_path, "compile=maybe")


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace `torch.compile` by a note of what is compiled and called."""
    seen: list[str] = []

    def compile(forward: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
        def compiled(*args: Any, **kwargs: Any) -> Any:
            seen.append("called")
            return forward(*args, **kwargs)

        seen.append("compiled")
        return compiled

    monkeypatch.setattr(torch, "compile", compile)
    return seen


def test_network_is_compiled_once_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, network, passes, images = counted(monkeypatch), Seen(), Passes(compiled=True), torch.rand(2, 3, 8, 8)
    before = {name: dict(vars(module)) for name, module in network.named_modules()}
    with torch.no_grad():
        expected = network(images)
        for _ in range(2):
            with passes_in(network, passes):
                assert torch.equal(network(images), expected)
    assert seen == ["compiled", "called", "called"]
    assert {name: {**vars(module)} for name, module in network.named_modules()} == {
        **before,
        "": {**before[""], "computed_in": torch.float32},
    }
    network(images)
    assert len(seen) == 3


def test_passes_with_gradients_or_hooks_inside_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, network, hooked = counted(monkeypatch), Seen(), []
    with passes_in(network, Passes(compiled=True)):
        network(torch.rand(2, 3, 8, 8))
        handle = network.layer.register_forward_hook(lambda *_: hooked.append(1))
        with torch.no_grad():
            network(torch.rand(2, 3, 8, 8))
            handle.remove()
            assert seen == ["compiled"]
            network(torch.rand(2, 3, 8, 8))
    assert hooked == [1]
    assert seen == ["compiled", "called"]


def test_missing_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert Passes() == Passes("32-true", False)
    with pytest.raises(UserError, match="compile=true needs a C\\+\\+ compiler, and there is no no-such-compiler"):
        Passes(compiled=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_scores_are_those_of_the_network() -> None:
    network, images = Seen(), smooth_noise(4)
    with torch.no_grad():
        expected = network(images)
        with warnings.catch_warnings(), passes_in(network, Passes(compiled=True)):
            warnings.simplefilter("ignore")  # of torch, about its own modules
            for count in (4, 3):
                torch.testing.assert_close(network(images[:count]), expected[:count])


def test_stability_compares_maps_of_one_precision_and_other_networks_are_refused(tmp_path: Path) -> None:
    moved = "metric.stability.radius=1e-6"
    for precision in ("32-true", "bf16-mixed"):
        request = request_of(tmp_path, "explainer=rise", "metric=[stability]", moved, f"precision={precision}")
        cell.run(request.config)
        scores = CellFolder(request.folder).read(SCORES)["value"]
        assert scores.median() < 1e-2  # of rounding in one of them it would be more
    refused = request_of(tmp_path, "experiment=metrics/sanity_flowers", "explainer=rise", "precision=bf16-mixed")
    refused.config.raise_errors = True
    with pytest.raises(UserError, match="precision=bf16-mixed does not reach other networks"):
        cell.run(refused.config)


def test_unknown_precision_is_named() -> None:
    with pytest.raises(UserError, match="precision=bf16 is unknown; use 32-true or bf16-mixed"):
        Passes("bf16")
