"""SIAM: scores are exact sums of contributions. Its baselines: the same network without the bottleneck."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from scene_world import COLOURS, SIZE, TinyBackbone, scene_network
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from evident import cli
from evident.contracts import HasAttributeMaps, HasBackbone, Regressor, SumsContributions
from evident.errors import UserError
from evident.explainers.grad_cam import GradCAM
from evident.explainers.shared.placement import Placement
from evident.models.normalise import mean_colour
from evident.models.siam.backbones import Backbone, SceneNet, TorchvisionFeatures
from evident.models.siam.baselines import SceneRegressor, UnconstrainedAttributes
from evident.models.siam.network import SIAM, AttributeLayer, ScoreHead

CONF = ROOT / "conf"
K = 5


def siam(seed: int = 0, **settings: Any) -> SIAM:
    """Return a network as after training: signs and weights of either sign, templates without negative values."""
    torch.manual_seed(seed)
    network = SIAM(TinyBackbone(), **{"attributes": K, "size": 8, "border": 1, **settings}).eval()
    with torch.no_grad():
        for head in network.scenicness.values():
            for parameter in head.parameters():
                parameter.normal_()
            head.templates.relu_()
    return network


def images(count: int = 3, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def head_of(network: SIAM, score: str) -> ScoreHead:
    head = network.scenicness[score]
    assert isinstance(head, ScoreHead)
    return head


def as_published(head: ScoreHead, maps: Tensor) -> Tensor:
    """Compute a score layer by layer as in Marcos et al. 2019: depthwise templates, ReLU, depthwise 1x1, linear."""
    attributes, templates, *size = head.templates.shape
    found = F.conv2d(maps, head.templates.reshape(-1, 1, *size), groups=attributes).relu()
    signed = F.conv2d(found, head.signs.reshape(attributes, templates, 1, 1), groups=attributes)
    return F.linear(signed.flatten(1), head.weights[None], head.bias)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("templates", [1, 2])
def test_scores_equal_the_published_layers(seed: int, templates: int) -> None:
    network = siam(seed, templates=templates).double()
    outputs = network.outputs(images(seed=seed).double())
    for score, ours in {"average": outputs.average, "variance": outputs.variance}.items():
        published = as_published(head_of(network, score), outputs.attribute_maps)
        torch.testing.assert_close(ours[:, None], published, atol=1e-10, rtol=1e-10)


def test_gradients_equal_the_published_layers_and_vanish_for_a_zero_template() -> None:
    network = siam().double()
    head = head_of(network, "average")
    with torch.no_grad():
        head.templates[0, 1] = 0
    maps = network.outputs(images().double()).attribute_maps.detach().requires_grad_()
    ours = torch.autograd.grad(head(maps).sum(), [maps, head.templates, head.signs, head.weights])
    published = torch.autograd.grad(as_published(head, maps).sum(), [maps, head.templates, head.signs, head.weights])
    for one, other in zip(ours, published, strict=True):
        torch.testing.assert_close(one, other)
    assert ours[1][0, 1].abs().max() == 0


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("shape", [(SIZE, SIZE), (SIZE + 9, SIZE), (2 * SIZE, 3 * SIZE)])
def test_scores_are_sums_over_attributes_and_positions(seed: int, shape: tuple[int, int]) -> None:
    network, inputs = siam(seed), torch.rand(3, 3, *shape)
    outputs, bias, scores = network.outputs(inputs), network.output_bias(), network(inputs)
    tolerance = {"atol": 1e-5 * scores.abs().max().item(), "rtol": 0}
    torch.testing.assert_close(torch.stack([outputs.average, outputs.variance], 1), scores, **tolerance)
    by_attribute = torch.stack([outputs.contributions.sum(1), outputs.variance_contributions.sum(1)], 1)
    torch.testing.assert_close(bias + by_attribute, scores, **tolerance)
    torch.testing.assert_close(bias + network.contribution_map(inputs).sum((2, 3)), scores, **tolerance)
    for column, (score, parts) in enumerate(
        {"average": outputs.contributions, "variance": outputs.variance_contributions}.items()
    ):
        maps = network.contribution_maps(inputs, score)
        assert maps.shape == (3, K, 8, 8)
        torch.testing.assert_close(maps.sum((2, 3)), parts, **tolerance)
        torch.testing.assert_close(maps.sum(1), network.contribution_map(inputs)[:, column], **tolerance)


def test_removing_an_attribute_subtracts_its_contribution() -> None:
    network, inputs = siam(), images()
    outputs = network.outputs(inputs)
    with torch.no_grad():
        network.attribute_layer.convolution.weight[2] = 0
        network.attribute_layer.convolution.bias[2] = 0
    torch.testing.assert_close(network.outputs(inputs).average, outputs.average - outputs.contributions[:, 2])


def test_attribute_maps_are_non_negative_and_zero_on_the_border() -> None:
    layer = AttributeLayer(4, K, border=2)
    maps = layer(torch.randn(2, 4, 15, 11))
    assert maps.shape == (2, K, 15, 11)
    assert maps.min() == 0
    assert maps[:, :, 2:-2, 2:-2].amax((2, 3)).min() > 0
    maps[:, :, 2:-2, 2:-2] = 0
    assert maps.max() == 0


def test_border_of_zero_keeps_whole_attribute_maps() -> None:
    layer, features = AttributeLayer(4, K, border=0), torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(layer(features), layer.convolution(features).relu())


def test_attributes_are_tanh_of_the_mean_map() -> None:
    network, inputs = siam(), images()
    outputs = network.outputs(inputs)
    torch.testing.assert_close(outputs.attributes, outputs.attribute_maps.mean((2, 3)).tanh())
    torch.testing.assert_close(outputs.attributes, network.attributes(inputs))
    assert outputs.attributes.min() >= 0
    assert outputs.attributes.max() < 1


def test_start_at_gives_every_image_the_mean_scores() -> None:
    network = SIAM(TinyBackbone(), K, size=8, border=1)
    network.start_at(torch.tensor([4.5, 1.25]))
    torch.testing.assert_close(network(images(4)), torch.tensor([[4.5, 1.25]]).expand(4, 2))
    for head in network.scenicness.values():
        assert head.templates.unique().tolist() == pytest.approx([0.01])
        assert head.signs.tolist() == [[0.5, -0.5]] * K
        assert head.weights.tolist() == pytest.approx([1 / K] * K)


def test_clamp_templates_changes_only_negative_values() -> None:
    network = siam()
    head = network.scenicness["variance"]
    before = head.templates.detach().clone()
    with torch.no_grad():
        head.templates[0, 0] -= 5
    network.clamp_templates()
    assert head.templates.min() >= 0
    assert torch.equal(head.templates[1:], before[1:])


@pytest.mark.parametrize("make", [siam, lambda: UnconstrainedAttributes(TinyBackbone(), K, border=1).eval()])
def test_outputs_of_an_image_do_not_depend_on_its_batch(make: Callable[[], Any]) -> None:
    network, inputs = make(), images(4)
    torch.testing.assert_close(torch.cat([network(image[None]) for image in inputs]), network(inputs))
    torch.testing.assert_close(
        torch.cat([network.attributes(image[None]) for image in inputs]), network.attributes(inputs)
    )


@pytest.mark.parametrize("kind", ["regressor", "unconstrained"])
def test_class_activation_map_of_a_baseline_sums_to_its_score(kind: str) -> None:
    network, inputs = scene_network(kind).eval(), images()
    network.start_at(torch.tensor([5.0, 1.0]))
    torch.testing.assert_close(network.output_bias() + network.contribution_map(inputs).sum((2, 3)), network(inputs))


def test_grad_cam_of_the_regressor_is_its_class_activation_map() -> None:
    network, inputs = scene_network("regressor").eval(), images()
    cam = network.contribution_map(inputs).clamp(min=0)
    for target in (0, 1):
        attribution = GradCAM(network, "backbone.features").attribute(inputs, target)
        placed = Placement(network, "backbone.features")(cam[:, target : target + 1], inputs)
        torch.testing.assert_close(attribution, placed)


def test_scores_of_unconstrained_attributes_ignore_the_attribute_layer() -> None:
    network: Any = scene_network("unconstrained").eval()
    inputs = images()
    before = network(inputs)
    nn.init.normal_(network.attribute_layer.convolution.weight)
    assert torch.equal(network(inputs), before)
    assert network.attribute_maps(inputs).shape == (3, len(COLOURS), 8, 8)


@pytest.mark.parametrize(("kind", "has_attributes"), [("siam", True), ("unconstrained", True), ("regressor", False)])
def test_networks_of_scenes_satisfy_their_protocols(kind: str, has_attributes: bool) -> None:
    network = scene_network(kind)
    assert isinstance(network, Regressor)
    assert list(network.regression_names()) == ["average", "variance"]
    assert isinstance(network, SumsContributions)
    assert isinstance(network, HasBackbone)
    assert network.feature_extractor() is network.backbone
    assert isinstance(network, HasAttributeMaps) == has_attributes


def test_mean_colour_is_that_of_the_backbone() -> None:
    network = siam()
    assert mean_colour(network) is network.backbone.normalise.mean


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SIAM(TinyBackbone(), K, 8, 1, templates=3), "templates=3 per attribute; use 2"),
        (
            lambda: SIAM(TinyBackbone(), K, 8, 1, classes=6),
            "classes=6 does not fit SIAM, .* average and variance; use",
        ),
        (lambda: SceneRegressor(TinyBackbone(), classes=6), "classes=6 does not fit SceneRegressor"),
        (lambda: siam(border=4)(images()), "feature maps of 8x8 lie within a border of 4"),
        (lambda: siam().contribution_maps(images(), "beauty"), "score='beauty' is unknown; use average or variance"),
    ],
)
def test_invalid_argument_raises_user_error(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


MODELS = ("siam", "siam/one_template", "siam/dense", "scene_regressor", "unconstrained_attributes")


@pytest.mark.parametrize("name", MODELS)
def test_config_builds_small_network_of_scenes(name: str) -> None:
    network = configured(name)
    assert network(torch.rand(2, 3, 96, 96)).shape == (2, 2)
    assert network.contribution_map(torch.rand(2, 3, 96, 96)).shape == (2, 2, 12, 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["siam/resnet50", "scene_regressor/resnet50", "unconstrained_attributes/resnet50"])
def test_config_of_published_network_has_the_papers_sizes(name: str) -> None:
    network = configured(name)
    with torch.no_grad():
        assert network.backbone(torch.rand(1, 3, 450, 450)).shape == (1, 2048, 15, 15)
        assert network.contribution_map(torch.rand(1, 3, 450, 450)).shape == (1, 2, 15, 15)


def configured(name: str) -> nn.Module:
    cli.prepare()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"model={name}", "+data.attributes=33", "data.classes=2"])
    assert config.model.name == name.replace("/", "_")
    return instantiate(config.model.build, _partial_=True)(classes=config.data.classes).eval()


@pytest.mark.parametrize(
    ("backbone", "size", "border", "side"),
    [(SceneNet, 12, 1, 96), (partial(TorchvisionFeatures, "resnet50", "layer4"), 7, 2, 224)],
)
def test_bottleneck_costs_at_most_five_percent_more_operations(
    backbone: Callable[[], Backbone], size: int, border: int, side: int
) -> None:
    features = backbone()
    ours, plain = (
        operations(network, side) for network in (SIAM(features, 33, size, border), SceneRegressor(features))
    )
    assert plain < ours < 1.05 * plain


def operations(network: nn.Module, side: int) -> int:
    """Return the number of multiplications and additions of one forward pass."""
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network.eval()(torch.rand(1, 3, side, side))
    return counted.get_total_flops()
