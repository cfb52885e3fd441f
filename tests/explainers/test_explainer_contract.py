"""What every explainer promises, tried on every file in conf/explainer: being there is being tested."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import Attribution
from entry_point import ROOT
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from scene_world import TinyBackbone
from torch import Tensor, nn

from evident.data.images import ImageSet, loader
from evident.models.flower_net import FlowerNet
from evident.models.siam.baselines import SceneRegressor, UnconstrainedAttributes
from evident.models.siam.network import SIAM

CONF = ROOT / "conf"
FILES = sorted((CONF / "explainer").glob("*.yaml"))


def read(file: Path) -> DictConfig:
    """An explainer's file where a run would compose it: beside a seed, a model and the smallest scale."""
    scale = OmegaConf.load(CONF / "scale" / "smoke.yaml").scale
    model = {"layer": "features", "vebi": {"layers": "relu", "mu": 5}}
    config = OmegaConf.create({"seed": 0, "model": model, "scale": scale})
    config.explainer = OmegaConf.load(file)
    return config.explainer


def make(file: Path, model: nn.Module, **settings: Any) -> Any:
    explainer = instantiate(read(file).build, _partial_=True)(model, **settings)
    if hasattr(explainer, "fit"):
        images = torch.randint(256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(2)).byte()
        training_set = ImageSet(images, torch.arange(8) % 4, [str(n) for n in range(8)])
        explainer.fit(loader(training_set, batch_size=4))
    return explainer


def explain(explainer: Any, images: Tensor, target: Tensor | int) -> Tensor:
    if getattr(explainer, "needs_mask", False):
        return explainer.attribute(images, target, mask=images[:, 0] > 0.5)
    return explainer.attribute(images, target)


def pictures(count: int = 3, height: int = 32, width: int = 32, grey: bool = False) -> Tensor:
    """Smooth noise: what SLIC finds super-pixels in."""
    noise = torch.rand(count, 1 if grey else 3, 5, 5, generator=torch.Generator().manual_seed(1))
    images = nn.functional.interpolate(noise, (height, width), mode="bilinear")
    return images.expand(-1, 3, -1, -1).contiguous()


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that an explainer might leave behind in a model."""
    return {
        "values": {name: value.clone() for name, value in model.state_dict().items()},
        "asks": {name: (p.requires_grad, p.grad is None) for name, p in model.named_parameters()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "hooks": {
            f"{name}.{key}": dict(value) if isinstance(value, dict) else value
            for name, module in model.named_modules()
            for key, value in vars(module).items()
            if "hook" in key
        },
    }


def assert_unchanged(model: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(model)
    values = before.pop("values")
    torch.testing.assert_close(after.pop("values"), values, rtol=0, atol=0)
    assert after == before


def assert_close(attribution: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(attribution, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.fixture
def model(request: pytest.FixtureRequest) -> nn.Module:
    """A network in mixed modes, with a hook of its user's and one parameter that is frozen, of the explainer's kind."""
    kind = getattr(get_class(read(request.node.callspec.params["file"]).build._target_), "explains", FlowerNet)
    make, parts = NETWORKS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make()
        # As strong a signal as a trained network has: torch's own start lets it fade into rounding errors.
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
    features, frozen, last = parts
    network.get_submodule(features).eval()
    network.get_parameter(frozen).requires_grad_(False)
    network.get_submodule(features).register_forward_hook(lambda module, args, output: None)
    network.last = last
    return network


# Of each kind of network that is explained: how it is made, its features, a parameter and its last part.
NETWORKS: dict[type, tuple[Callable[[], nn.Module], tuple[str, str, str]]] = {
    FlowerNet: (lambda: FlowerNet(classes=4), ("features", "classifier.2.weight", "classifier")),
    SIAM: (
        lambda: SIAM(TinyBackbone(), attributes=3, size=8, border=1),
        ("backbone.features", "attribute_layer.convolution.weight", "attribute_layer"),
    ),
    SceneRegressor: (
        lambda: UnconstrainedAttributes(TinyBackbone(), attributes=3, border=1),
        ("backbone.features", "scenicness.weight", "backbone"),
    ),
}


def wanted(model: nn.Module) -> Tensor:
    """A target for each of three images."""
    return torch.tensor([2, 0, 1]) if isinstance(model, FlowerNet) else torch.tensor([1, 0, 1])


def has_batch_size(file: Path) -> bool:
    return "batch_size" in inspect.signature(get_class(read(file).build._target_)).parameters


every_explainer = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
chunked = pytest.mark.parametrize("file", list(filter(has_batch_size, FILES)), ids=lambda file: file.stem)


@every_explainer
def test_file_says_what_it_is(file: Path, model: nn.Module) -> None:
    assert file.read_text().startswith("# ")
    config = read(file)
    assert config.name == file.stem
    assert issubclass(get_class(config.build._target_), Attribution)
    assert config.get("reference_row", False) == (file.stem in ("random", "centre", "edges", "oracle"))


@every_explainer
@pytest.mark.parametrize(
    "images", [pictures(), pictures(grey=True), pictures(height=48, width=40)], ids=["rgb", "grey", "48x40"]
)
def test_attribution_is_shaped_like_the_image_and_heatmap_is_finite(
    file: Path, model: nn.Module, images: Tensor
) -> None:
    explainer = make(file, model)
    attribution = explain(explainer, images, wanted(model))
    assert attribution.shape in (images.shape, images[:, :1].shape)
    assert not attribution.requires_grad
    assert attribution.isfinite().all()
    heatmap = explainer.heatmap(attribution)
    assert heatmap.shape == images[:, 0].shape
    assert heatmap.isfinite().all()
    assert (heatmap >= 0).all()


@every_explainer
def test_image_is_explained_alone_as_in_any_batch(file: Path, model: nn.Module) -> None:
    explainer, images = make(file, model), pictures()
    whole = explain(explainer, images, wanted(model))
    alone = [explain(explainer, images[n : n + 1], wanted(model)[n : n + 1]) for n in range(3)]
    assert_close(torch.cat(alone), whole)
    assert_close(explain(explainer, images.flip(0), wanted(model).flip(0)).flip(0), whole)


@chunked
def test_batch_size_changes_memory_never_results(file: Path, model: nn.Module) -> None:
    images = pictures()
    whole = explain(make(file, model, batch_size=64), images, wanted(model))
    for batch_size in (1, 2, 7):
        assert_close(explain(make(file, model, batch_size=batch_size), images, wanted(model)), whole)


@every_explainer
def test_same_seed_same_bytes_whatever_the_global_generator_holds(file: Path, model: nn.Module) -> None:
    images = pictures()
    first = explain(make(file, model), images, wanted(model))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second = explain(make(file, model), images, wanted(model))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.numpy().tobytes() == second.numpy().tobytes()


@every_explainer
def test_one_target_stands_for_all_images(file: Path, model: nn.Module) -> None:
    explainer, images = make(file, model), pictures()
    assert_close(explain(explainer, images, 1), explain(explainer, images, torch.tensor([1, 1, 1])))


@every_explainer
def test_model_and_images_come_back_as_they_went_in(file: Path, model: nn.Module) -> None:
    images = pictures().requires_grad_()
    before, pixels = snapshot(model), images.detach().clone()
    explain(make(file, model), images, wanted(model))
    assert_unchanged(model, before)
    assert images.requires_grad
    assert images.grad is None
    assert torch.equal(images, pixels)


@every_explainer
def test_model_comes_back_after_an_exception(file: Path, model: nn.Module) -> None:
    class Failure(Exception):
        pass

    def fail(module: nn.Module, args: object, output: object) -> None:
        raise Failure

    explainer = make(file, model)
    handle = model.get_submodule(model.last).register_forward_hook(fail)
    before = snapshot(model)
    images = pictures()
    # The reference rows do not ask the model, and so do not fail.
    with suppress(Failure):
        explain(explainer, images, wanted(model))
    assert not images.requires_grad
    assert_unchanged(model, before)
    handle.remove()
    assert not model.get_submodule(model.last)._forward_hooks


@every_explainer
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_frozen_weights_and_disabled_gradients_make_no_difference(file: Path, model: nn.Module, mode: Any) -> None:
    expected = explain(make(file, model), pictures(), wanted(model))
    model.requires_grad_(False)
    explainer = make(file, model)
    with mode():
        attribution = explain(explainer, pictures(), wanted(model).clone())
        assert not torch.is_grad_enabled()
    assert_close(attribution.clone(), expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())
