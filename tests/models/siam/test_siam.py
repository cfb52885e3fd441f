"""SIAM's scores are exactly the sums of its contributions; the networks beside it lack the bottleneck alone."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from scene_world import SIZE, TinyBackbone
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from evident import cli
from evident.errors import UserError
from evident.explainers.grad_cam import GradCAM, upsampled
from evident.models.normalise import mean_colour
from evident.models.siam.backbones import Backbone, SceneNet, TorchvisionFeatures
from evident.models.siam.baselines import SceneRegressor, UnconstrainedAttributes
from evident.models.siam.network import SIAM, AttributeLayer, ScoreHead

CONF = ROOT / "conf"
K = 5


def siam(seed: int = 0, **settings: object) -> SIAM:
    """With parameters as training may leave them: signs and weights of any sign, templates without negative values."""
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


def as_published(head: ScoreHead, maps: Tensor) -> Tensor:
    """The head layer by layer, as PAPERS 3.1 lists them: depthwise templates, ReLU, depthwise 1x1, linear."""
    attributes, templates, *size = head.templates.shape
    found = F.conv2d(maps, head.templates.reshape(-1, 1, *size), groups=attributes).relu()
    signed = F.conv2d(found, head.signs.reshape(attributes, templates, 1, 1), groups=attributes)
    return F.linear(signed.flatten(1), head.weights[None], head.bias)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("templates", [1, 2])
def test_the_head_is_the_papers_layer_by_layer(seed: int, templates: int) -> None:
    network = siam(seed, templates=templates).double()
    outputs = network.outputs(images(seed=seed).double())
    heads = dict(network.scenicness.items())
    for score in ("average", "variance"):
        published = as_published(heads[score], outputs.attribute_maps)
        torch.testing.assert_close(getattr(outputs, score)[:, None], published, atol=1e-10, rtol=1e-10)


def test_a_template_that_is_zero_where_its_attribute_is_seen_stays_as_the_papers_does() -> None:
    network = siam().double()
    head = network.scenicness["average"]
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
def test_every_score_splits_into_attributes_and_places(seed: int, shape: tuple[int, int]) -> None:
    network, pictures = siam(seed), torch.rand(3, 3, *shape)
    outputs, bias, scores = network.outputs(pictures), network.bias(), network(pictures)
    tolerance = {"atol": 1e-5 * scores.abs().max().item(), "rtol": 0}
    torch.testing.assert_close(torch.stack([outputs.average, outputs.variance], 1), scores, **tolerance)
    by_attribute = torch.stack([outputs.contributions.sum(1), outputs.variance_contributions.sum(1)], 1)
    torch.testing.assert_close(bias + by_attribute, scores, **tolerance)
    torch.testing.assert_close(bias + network.contribution_map(pictures).sum((2, 3)), scores, **tolerance)
    for column, (score, parts) in enumerate(
        {"average": outputs.contributions, "variance": outputs.variance_contributions}.items()
    ):
        maps = network.contribution_maps(pictures, score)
        assert maps.shape == (3, K, 8, 8)
        torch.testing.assert_close(maps.sum((2, 3)), parts, **tolerance)
        torch.testing.assert_close(maps.sum(1), network.contribution_map(pictures)[:, column], **tolerance)


def test_without_an_attribute_a_score_lacks_its_contribution() -> None:
    network, pictures = siam(), images()
    outputs = network.outputs(pictures)
    with torch.no_grad():
        network.attribute_layer.convolution.weight[2] = 0
        network.attribute_layer.convolution.bias[2] = 0
    torch.testing.assert_close(network.outputs(pictures).average, outputs.average - outputs.contributions[:, 2])


def test_attribute_maps_are_not_negative_and_zero_on_the_border() -> None:
    layer = AttributeLayer(4, K, border=2)
    maps = layer(torch.randn(2, 4, 15, 11))
    assert maps.shape == (2, K, 15, 11)
    assert maps.min() == 0
    assert maps[:, :, 2:-2, 2:-2].amax((2, 3)).min() > 0
    maps[:, :, 2:-2, 2:-2] = 0
    assert maps.max() == 0


def test_a_border_of_nothing_leaves_the_maps() -> None:
    layer, features = AttributeLayer(4, K, border=0), torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(layer(features), layer.convolution(features).relu())


def test_attributes_are_the_tanh_of_the_whole_maps_mean() -> None:
    network, pictures = siam(), images()
    outputs = network.outputs(pictures)
    torch.testing.assert_close(outputs.attributes, outputs.attribute_maps.mean((2, 3)).tanh())
    torch.testing.assert_close(outputs.attributes, network.attributes(pictures))
    assert outputs.attributes.min() >= 0
    assert outputs.attributes.max() < 1


def test_at_first_every_image_is_average() -> None:
    network = SIAM(TinyBackbone(), K, size=8, border=1)
    network.start_at(torch.tensor([4.5, 1.25]))
    torch.testing.assert_close(network(images(4)), torch.tensor([[4.5, 1.25]]).expand(4, 2))
    for head in network.scenicness.values():
        assert head.templates.unique().tolist() == pytest.approx([0.01])
        assert head.signs.tolist() == [[0.5, -0.5]] * K
        assert head.weights.tolist() == pytest.approx([1 / K] * K)


def test_clamping_takes_what_is_negative_and_nothing_else() -> None:
    network = siam()
    head = network.scenicness["variance"]
    before = head.templates.detach().clone()
    with torch.no_grad():
        head.templates[0, 0] -= 5
    network.clamp_templates()
    assert head.templates.min() >= 0
    assert torch.equal(head.templates[1:], before[1:])


@pytest.mark.parametrize("make", [siam, lambda: UnconstrainedAttributes(TinyBackbone(), K, 1).eval()])
def test_an_image_alone_says_what_it_says_in_a_batch(make: object) -> None:
    network, pictures = make(), images(4)
    torch.testing.assert_close(torch.cat([network(picture[None]) for picture in pictures]), network(pictures))
    torch.testing.assert_close(
        torch.cat([network.attributes(picture[None]) for picture in pictures]), network.attributes(pictures)
    )


@pytest.mark.parametrize("make", [SceneRegressor, lambda backbone: UnconstrainedAttributes(backbone, K, 1)])
def test_the_class_activation_map_of_a_baseline_sums_to_its_score(make: object) -> None:
    torch.manual_seed(0)
    network, pictures = make(TinyBackbone()).eval(), images()
    network.start_at(torch.tensor([5.0, 1.0]))
    torch.testing.assert_close(network.bias() + network.contribution_map(pictures).sum((2, 3)), network(pictures))


def test_grad_cam_of_the_black_box_is_its_class_activation_map() -> None:
    torch.manual_seed(0)
    network, pictures = SceneRegressor(TinyBackbone()).eval(), images()
    cam = network.contribution_map(pictures).clamp(min=0)
    for target in (0, 1):
        attribution = GradCAM(network, "backbone.features").attribute(pictures, target)
        torch.testing.assert_close(attribution, upsampled(cam[:, target : target + 1], pictures))


def test_scores_without_bottleneck_do_not_pass_the_attributes() -> None:
    torch.manual_seed(0)
    network, pictures = UnconstrainedAttributes(TinyBackbone(), K, 1).eval(), images()
    before = network(pictures)
    nn.init.normal_(network.attribute_layer.convolution.weight)
    assert torch.equal(network(pictures), before)
    assert network.attribute_maps(pictures).shape == (3, K, 8, 8)


def test_the_neutral_colour_is_the_backbones() -> None:
    network = siam()
    assert mean_colour(network) is network.backbone.normalise.mean


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SIAM(TinyBackbone(), K, 8, 1, templates=3), "templates=3 an attribute; use 2"),
        (lambda: SIAM(TinyBackbone(), K, 8, 1, classes=6), "6 classes are no scenicness; .* average and variance"),
        (lambda: SceneRegressor(TinyBackbone(), classes=6), "6 classes are no scenicness"),
        (lambda: siam(border=4)(images()), "maps of 8x8 have nothing inside a border of 4"),
        (lambda: siam().contribution_maps(images(), "beauty"), "score='beauty' is unknown; use average or variance"),
    ],
)
def test_what_makes_no_sense_is_named(make: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        make()


MODELS = ("siam", "siam/one_template", "siam/dense", "scene_regressor", "unconstrained_attributes")


@pytest.mark.parametrize("name", MODELS)
def test_every_small_network_of_scenes_is_built_from_its_config(name: str) -> None:
    network = configured(name)
    assert network(torch.rand(2, 3, 96, 96)).shape == (2, 2)
    assert network.contribution_map(torch.rand(2, 3, 96, 96)).shape == (2, 2, 12, 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["siam/resnet50", "scene_regressor/resnet50", "unconstrained_attributes/resnet50"])
def test_the_published_size_is_the_papers(name: str) -> None:
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
def test_a_score_costs_at_most_a_twentieth_more(
    backbone: Callable[[], Backbone], size: int, border: int, side: int
) -> None:
    features = backbone()
    ours, plain = (
        operations(network, side) for network in (SIAM(features, 33, size, border), SceneRegressor(features))
    )
    assert plain < ours < 1.05 * plain


def operations(network: nn.Module, side: int) -> int:
    """Multiplications and additions of one forward pass, which no other work on the machine changes."""
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network.eval()(torch.rand(1, 3, side, side))
    return counted.get_total_flops()
