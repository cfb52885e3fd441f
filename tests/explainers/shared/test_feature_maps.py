"""Layouts of feature maps: patches planted in transformers of three libraries, channels last, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
import transformers
from samples import TinyTransformer, flower_net, huggingface_vit, kaiming, smooth_noise, uniform_noise
from torch import Tensor, nn

from evident.errors import NotApplicable, UserError
from evident.explainers.excitation_backprop import ExcitationBackprop
from evident.explainers.grad_cam import Activations, GradCAM
from evident.explainers.shared.feature_maps import Layout, layout_of, run_to_layer
from evident.explainers.vebi import VEBI
from evident.metrics.cost import Cost
from evident.models.untouched import untouched


class _Logits(nn.Module):
    """Return the logits of a classifier of transformers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(pixel_values=images).logits


def timm_vit() -> nn.Module:
    size: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", num_classes=5, **size)


def timm_registers() -> nn.Module:
    return timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=5, reg_tokens=4, global_pool="avg"
    )


def torchvision_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 2, 2, 24, 48, num_classes=5)


def transformers_vit() -> nn.Module:
    return _Logits(huggingface_vit())


def timm_swin() -> nn.Module:
    return timm.models.SwinTransformer(
        img_size=32, patch_size=2, embed_dim=12, depths=(1, 1), num_heads=(2, 2), window_size=4, num_classes=5
    )


def torchvision_swin() -> nn.Module:
    return torchvision.models.SwinTransformer([2, 2], 12, [1, 1], [2, 2], [4, 4], num_classes=5)


def transformers_swin() -> nn.Module:
    config: Any = transformers.SwinConfig(
        image_size=32, patch_size=2, embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    config.num_labels = 5
    return _Logits(transformers.SwinForImageClassification(config))


def convnext() -> nn.Module:
    return timm.models.ConvNeXt(depths=(1,) * 4, dims=(12, 16, 20, 24), num_classes=5)


def ready(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kaiming(build()).eval()


# Network, a layer before the first mixing of positions, and the layout of its output for images of 32 x 32 pixels.
LAYERS = [
    (timm_vit, "blocks.0.norm1", Layout("tokens", 1, (4, 4))),
    (timm_registers, "blocks.0.norm1", Layout("tokens", 5, (4, 4))),
    (torchvision_vit, "encoder.layers.encoder_layer_0.ln_1", Layout("tokens", 1, (4, 4))),
    (transformers_vit, "network.vit.layers.0.layernorm_before", Layout("tokens", 1, (4, 4))),
    (timm_swin, "patch_embed", Layout("channels last")),
    (torchvision_swin, "features.0", Layout("channels last")),
    (transformers_swin, "network.swin.embeddings.norm", Layout("tokens", 0, (16, 16))),
    (transformers_swin, "network.swin.encoder.layers.0.downsample", Layout("tokens", 0, (8, 8))),
    (timm_swin, "layers.0", Layout("channels last")),
    (torchvision_swin, "permute", Layout("channels first")),
    (convnext, "stages.0", Layout("channels first")),
]  # fmt: skip
ids = [f"{build.__name__}-{layer}" for build, layer, _ in LAYERS]


@pytest.mark.parametrize(("build", "layer", "layout"), LAYERS, ids=ids)
def test_layout_of_known_networks(build: Callable[[], nn.Module], layer: str, layout: Layout) -> None:
    network, images = ready(build), smooth_noise()
    assert layout_of(network, layer, images) == layout
    with untouched(network):
        plain = network(images)
        run = run_to_layer(network, layer, images)
    torch.testing.assert_close(run.output, plain, rtol=1e-4, atol=1e-4)
    assert run.maps.shape[2] == run.maps.shape[3]


@pytest.mark.parametrize(
    ("build", "layer"), [(build, layer) for build, layer, _ in LAYERS[:7]], ids=ids[:7]
)  # fmt: skip
def test_planted_patch_changes_the_cell_that_it_lies_in(build: Callable[[], nn.Module], layer: str) -> None:
    network, images = ready(build), smooth_noise(1).expand(4, -1, -1, -1).clone()
    # Four places, none of them on a diagonal, so that rows and columns cannot be exchanged.
    places = [(2, 9), (27, 1), (13, 30), (21, 6)]
    for image, (row, column) in zip(images, places, strict=True):
        image[:, row, column] += 0.5
    with untouched(network), torch.no_grad():
        maps, before = (run_to_layer(network, layer, given).maps for given in (images, smooth_noise(1)))
    changed = (maps - before).abs().sum(1)
    cell = 32 // changed.shape[-1]
    for change, (row, column) in zip(changed, places, strict=True):
        assert divmod(int(change.argmax()), change.shape[-1]) == (row // cell, column // cell)


@pytest.mark.parametrize(
    ("build", "layer"),
    [(timm_vit, "blocks.1.norm1"), (timm_swin, "layers.1"), (transformers_swin, "network.swin.layernorm")],
)
def test_grad_cam_weighs_channels_not_rows(build: Callable[[], nn.Module], layer: str) -> None:
    network, images = ready(build), smooth_noise()
    kept: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(lambda m, a, output: kept.append(output))
    scores = network(images)[:, 2]
    hook.remove()
    [output] = kept
    gradient = torch.autograd.grad(scores.sum(), output)[0]
    # Positions in one axis, channels in the last, without extra tokens.
    a, g = (x.flatten(1, -2)[:, 1 if build is timm_vit else 0 :].detach() for x in (output, gradient))
    expected = (a * g.mean(1, keepdim=True)).sum(2).clamp(min=0)
    side = round(expected.shape[1] ** 0.5)
    placed = F.interpolate(expected.view(3, 1, side, side), (32, 32), mode="bilinear")
    torch.testing.assert_close(GradCAM(network, layer).attribute(images, 2), placed, rtol=1e-4, atol=1e-6)


def test_map_that_may_have_channels_first_or_last_is_refused() -> None:
    class Cube(nn.Module):
        """As many channels as rows and columns, and a layer that reads channels from the last axis."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 8, 8), nn.LayerNorm(4)

        def forward(self, images: Tensor) -> Tensor:
            return self.last(self.first(images).permute(0, 2, 3, 1)).mean((1, 2))

    network = Cube()
    with pytest.raises(NotApplicable, match=r"'last' returns \(1, 4, 4, 4\), which may have channels first or last"):
        layout_of(network, "last", smooth_noise())
    assert layout_of(network, "first", smooth_noise()) == Layout("channels first")


def test_positions_in_the_last_axis_are_not_read_as_tokens() -> None:
    class Flat(nn.Module):
        """As many channels as a class token and all positions, which are in the last axis."""

        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 17, 8, 8), nn.Flatten(2))

        def forward(self, images: Tensor) -> Tensor:
            return self.features(images).mean(2)

    with pytest.raises(NotApplicable, match=r"'features' returns \(1, 17, 16\), not feature maps"):
        layout_of(Flat(), "features", smooth_noise())


def test_finding_the_layout_is_no_forward_pass_of_the_explainer() -> None:
    network, images = flower_net(), uniform_noise(2, 32)
    with Cost(network) as cost:
        GradCAM(network, "features").attribute(images, 1)
    assert cost.forward_passes == len(images)


def test_tokens_of_two_grids_are_refused() -> None:
    class Two(nn.Module):
        """Five tokens: those of 2 x 2 patches and one more, or of a gate's 1 x 1 map and four more."""

        def __init__(self) -> None:
            super().__init__()
            self.gate, self.patches, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 6, 16, 16), nn.LayerNorm(6)

        def forward(self, images: Tensor) -> Tensor:
            images = images * self.gate(images.mean((2, 3), keepdim=True))
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            return self.norm(torch.cat((tokens[:, :1], tokens), 1)).mean(1)

    with pytest.raises(NotApplicable, match="not feature maps"):
        layout_of(Two(), "norm", smooth_noise())


def test_layers_without_places_are_refused() -> None:
    network = ready(timm_swin)
    with pytest.raises(NotApplicable, match="not feature maps"):
        layout_of(network, "layers.0.blocks.0.attn", smooth_noise())  # windows, not images, in the first axis
    with pytest.raises(NotApplicable, match=r"'head' returns \(1, 5\), not feature maps"):
        layout_of(network, "head", smooth_noise())
    with pytest.raises(UserError, match="is not a module"):
        layout_of(network, "layer4", smooth_noise())


def test_layer_whose_patches_do_not_reach_the_score_is_refused() -> None:
    network = ready(timm_vit)
    with pytest.raises(NotApplicable, match=r"'blocks.1' do not reach the class scores.*before the last attention"):
        GradCAM(network, "blocks.1").attribute(smooth_noise(), 1)
    assert Activations(network, "blocks.1").attribute(smooth_noise(), 1).any()


def test_methods_that_need_convolutions_say_so() -> None:
    network = ready(timm_vit)
    with pytest.raises(NotApplicable, match="no rule for attention"):
        ExcitationBackprop(network, "blocks.0.norm1").attribute(smooth_noise(), 1)
    batch: Any = {"image": smooth_noise(4), "label": torch.arange(4)}
    for build in (timm_vit, timm_swin, convnext):
        with pytest.raises(NotApplicable, match="computes on tokens or on maps with channels last"):
            VEBI(ready(build), layers="all").fit([batch])


def test_our_own_transformer_has_tokens() -> None:
    assert layout_of(TinyTransformer(), "blocks.0.norm1", smooth_noise()) == Layout("tokens", 1, (4, 4))
