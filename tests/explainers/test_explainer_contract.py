"""The contract of explainers, tested on every file in conf/explainer.

A file at the top level is an explainer of its own and runs all checks, and so is a control of sanity checks. A file in
another sub-folder is a variant of such an explainer and runs the cheap ones.
"""

import inspect
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import Attribution
from committed_numbers import by_formula, check, summary
from explainer_configs import FOLDER, NAMES, run_with
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig
from samples import TinyTransformer, kaiming, smooth_noise, training_set
from scene_world import scene_network
from torch import Tensor, nn

from evident.contracts import Fits, ForSomeNetworks, NeedsMask
from evident.data.images import loader
from evident.errors import UserError
from evident.explainers.attention import AttentionMap
from evident.models.flower_net import FlowerNet
from evident.models.training import plain

CONTROLS = sorted(FOLDER.glob("control/*.yaml"))
EXPLAINERS = sorted(FOLDER.glob("*.yaml")) + CONTROLS
VARIANTS = sorted(set(FOLDER.rglob("*.yaml")) - set(EXPLAINERS))


def composed(file: Path) -> DictConfig:
    """Return the config of a run that explains FlowerNet by this explainer, at scale=smoke."""
    return run_with(file.relative_to(FOLDER).with_suffix("").as_posix())


def read(file: Path) -> DictConfig:
    """Return the explainer's part of the config."""
    return composed(file).explainer


def class_of(file: Path) -> Any:
    return get_class(read(file).build._target_)


def takes(file: Path, setting: str) -> bool:
    return setting in inspect.signature(class_of(file)).parameters


def make(file: Path, model: nn.Module, **settings: Any) -> Any:
    """Build the explainer; if it learns, fit it to eight images of the type of the model's weights."""
    explainer = instantiate(read(file).build, _partial_=True)(model, **settings)
    if isinstance(explainer, Fits):
        dtype = next(model.parameters()).dtype
        explainer.fit([batch | {"image": batch["image"].to(dtype)} for batch in loader(training_set(8), batch_size=4)])
    return explainer


def explain(explainer: Any, images: Tensor, target: Tensor | int) -> Tensor:
    if isinstance(explainer, NeedsMask):
        return explainer.attribute_mask(images, target, images[:, 0] > 0.5)
    return explainer.attribute(images, target)


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Return everything that an explainer might change in a model."""
    return {
        "values": {name: value.clone() for name, value in model.state_dict().items()},
        "requires_grad": {name: (p.requires_grad, p.grad is None) for name, p in model.named_parameters()},
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


# The networks that an explainer may support, the most common first: each with the names of its features, one of its
# parameters and its last module.
NETWORKS = [
    (lambda: FlowerNet(classes=4), "features", "classifier.2.weight", "classifier"),
    (lambda: scene_network("siam"), "backbone.features", "attribute_layer.convolution.weight", "attribute_layer"),
    (lambda: scene_network("unconstrained"), "backbone.features", "scenicness.weight", "backbone"),
]
TRANSFORMER = (TinyTransformer, "blocks", "head.1.weight", "head")


def supported(explainer: Any) -> tuple[Any, ...]:
    """Return the first network that the explainer supports, with random weights, and the names of its parts."""
    for build, *names in [TRANSFORMER] if explainer is AttentionMap else NETWORKS:
        torch.manual_seed(0)
        network = kaiming(build())
        if not issubclass(explainer, ForSomeNetworks) or explainer.supports(type(network)):
            return network, *names
    raise AssertionError(f"no network here is supported by {explainer.__name__}; add one to NETWORKS")


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Any:
    """Return a network that the explainer supports, in mixed modes, with a hook and a frozen parameter."""
    network, features, frozen, last = supported(class_of(request.node.callspec.params["file"]))
    network.get_submodule(features).eval()
    network.get_parameter(frozen).requires_grad_(False)
    network.get_submodule(features).register_forward_hook(lambda module, args, output: None)
    network.last = last
    return network


def numbers_of(name: str) -> dict[str, list[float]]:
    """Return numbers of the heatmaps of three images by a network with weights from a formula, in float64."""
    file = FOLDER / f"{name}.yaml"
    network = by_formula(supported(class_of(file))[0])
    # Of eight bits, so that the bytes, from which random draws are seeded, are the same on every machine.
    images = (smooth_noise() * 255).round().double() / 255
    # Later steps of a search amplify last bits, which differ between machines.
    settings = {"steps": min(read(file).build.steps, 4)} if takes(file, "steps") else {}
    # A class whose score falls without the image, so that FGVis has something to preserve.
    target = (network(images) - network(torch.full_like(images, 0.5))).argmax(1)
    explainer = make(file, network, **settings)
    return {"heatmap": summary(explainer.heatmap(explain(explainer, images, target)))}


def some_targets(model: nn.Module) -> Tensor:
    """Return a target for each of three images."""
    return torch.tensor([2, 0, 1]) if isinstance(model, FlowerNet | TinyTransformer) else torch.tensor([1, 0, 1])


def assert_valid(explainer: Any, images: Tensor, target: Tensor) -> None:
    attribution = explain(explainer, images, target)
    assert attribution.shape in (images.shape, images[:, :1].shape)
    assert not attribution.requires_grad
    assert attribution.isfinite().all()
    heatmap = explainer.heatmap(attribution)
    assert heatmap.shape == images[:, 0].shape
    assert heatmap.isfinite().all()
    assert (heatmap >= 0).all()


def name_of(file: Path) -> str:
    return str(file.relative_to(FOLDER).with_suffix("")).replace("/", "_")


IGNORE_THE_NETWORK = ("random", "centre", "edges", "oracle", "constant")
every_explainer = pytest.mark.parametrize("file", EXPLAINERS, ids=name_of)
every_variant = pytest.mark.parametrize("file", VARIANTS, ids=name_of)
in_sub_folder = pytest.mark.parametrize("file", VARIANTS + CONTROLS, ids=name_of)
every_file = pytest.mark.parametrize("file", EXPLAINERS + VARIANTS, ids=name_of)


@pytest.mark.parametrize("name", NAMES)
def test_heatmaps_are_the_committed_ones(name: str) -> None:
    check("explainers", name, numbers_of(name))


@every_file
def test_name_is_the_path_of_the_file(file: Path) -> None:
    assert read(file).name == name_of(file)


@in_sub_folder
def test_file_of_a_sub_folder_belongs_to_the_package_explainer(file: Path) -> None:
    # Without this line, Hydra would put the config below a key named after the folder.
    assert file.read_text().startswith("# @package explainer\n")


@every_file
def test_target_is_a_captum_attribution(file: Path) -> None:
    assert issubclass(class_of(file), Attribution)


@every_file
def test_explainer_whose_cost_depends_on_the_scale_names_its_budget(file: Path) -> None:
    small = composed(file)
    large = small.copy()
    for sizes in large.scale.explainer.values():
        for name in sizes:
            sizes[name] += 1
    different = plain(large.explainer.build) != plain(small.explainer.build)
    assert (large.explainer.get("budget") != small.explainer.get("budget")) == different


@every_explainer
def test_reference_rows_are_declared(file: Path) -> None:
    assert read(file).get("reference_row", False) == (file.stem in IGNORE_THE_NETWORK)


@every_explainer
@pytest.mark.parametrize(
    "images", [smooth_noise(), smooth_noise(grey=True), smooth_noise(size=(48, 40))], ids=["rgb", "grey", "48x40"]
)
def test_attribution_has_the_shape_of_the_image_and_heatmap_is_finite(
    file: Path, model: nn.Module, images: Tensor
) -> None:
    assert_valid(make(file, model), images, some_targets(model))


@every_variant
def test_variant_explains_an_image(file: Path, model: nn.Module) -> None:
    explainer = make(file, model, **({"steps": 3} if takes(file, "steps") else {}))
    assert_valid(explainer, smooth_noise(1), some_targets(model)[:1])


@every_explainer
def test_image_has_the_same_explanation_alone_and_in_any_batch(file: Path, model: nn.Module) -> None:
    explainer, images, target = make(file, model), smooth_noise(), some_targets(model)
    whole = explain(explainer, images, target)
    alone = [explain(explainer, images[n : n + 1], target[n : n + 1]) for n in range(3)]
    assert_close(torch.cat(alone), whole)
    assert_close(explain(explainer, images.flip(0), target.flip(0)).flip(0), whole)


@every_explainer
def test_batch_size_does_not_change_results(file: Path, model: nn.Module) -> None:
    if not takes(file, "batch_size"):
        pytest.skip("has no batch size")
    images, target = smooth_noise(), some_targets(model)
    whole = explain(make(file, model, batch_size=64), images, target)
    for batch_size in (1, 2, 7):
        assert_close(explain(make(file, model, batch_size=batch_size), images, target), whole)


@every_explainer
def test_same_seed_gives_same_bytes_for_any_state_of_the_global_generator(file: Path, model: nn.Module) -> None:
    images, target = smooth_noise(), some_targets(model)
    first = explain(make(file, model), images, target)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second = explain(make(file, model), images, target)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.numpy().tobytes() == second.numpy().tobytes()


@every_explainer
def test_single_target_applies_to_all_images(file: Path, model: nn.Module) -> None:
    explainer, images = make(file, model), smooth_noise()
    assert_close(explain(explainer, images, 1), explain(explainer, images, torch.tensor([1, 1, 1])))


BAD_TARGETS = (-1, 1.7, True, torch.tensor([0, 1, -2]), torch.tensor([0.0, 1, 0]), torch.tensor([0, 1]))


@every_explainer
def test_bad_target_is_refused_in_one_line(file: Path, model: nn.Module) -> None:
    explainer, images = make(file, model), smooth_noise()
    outside = () if file.stem in IGNORE_THE_NETWORK else (99, torch.tensor([0, 1, 99]))
    for target in (*BAD_TARGETS, *outside):
        with pytest.raises(UserError, match=r"target") as error:
            explain(explainer, images, target)
        assert "\n" not in str(error.value)


@every_explainer
def test_images_of_another_number_type_are_refused_in_one_line(file: Path, model: nn.Module) -> None:
    explainer, images = make(file, model), smooth_noise()
    refused = {(images * 255).to(torch.uint8): "images of torch.uint8 cannot be explained; give floats"}
    if file.stem not in IGNORE_THE_NETWORK:
        refused[images.double()] = "the images are torch.float64, the weights of .* torch.float32; convert one of them"
    for wrong, message in refused.items():
        with pytest.raises(UserError, match=message) as error:
            explain(explainer, wrong, 1)
        assert "\n" not in str(error.value)


@every_explainer
def test_model_and_images_are_unchanged_afterwards(file: Path, model: nn.Module) -> None:
    images = smooth_noise().requires_grad_()
    before, pixels = snapshot(model), images.detach().clone()
    explain(make(file, model), images, some_targets(model))
    assert_unchanged(model, before)
    assert images.requires_grad
    assert images.grad is None
    assert torch.equal(images, pixels)


@every_explainer
def test_model_is_unchanged_after_an_exception(file: Path, model: Any) -> None:
    class Failure(Exception):
        pass

    def fail(module: nn.Module, args: object, output: object) -> None:
        raise Failure

    explainer = make(file, model)
    handle = model.get_submodule(model.last).register_forward_hook(fail)
    before = snapshot(model)
    images = smooth_noise()
    # The reference rows do not run the model and therefore do not fail.
    with suppress(Failure):
        explain(explainer, images, some_targets(model))
    assert not images.requires_grad
    assert_unchanged(model, before)
    handle.remove()
    assert not model.get_submodule(model.last)._forward_hooks


@every_explainer
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_frozen_weights_and_disabled_gradients_do_not_change_results(file: Path, model: nn.Module, mode: Any) -> None:
    expected = explain(make(file, model), smooth_noise(), some_targets(model))
    model.requires_grad_(False)
    explainer = make(file, model)
    with mode():
        attribution = explain(explainer, smooth_noise(), some_targets(model).clone())
        assert not torch.is_grad_enabled()
    assert_close(attribution.clone(), expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())
