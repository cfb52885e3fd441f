"""Attention: rollout and relevance against their formulas in float64, in three libraries, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from samples import TinyTransformer, flower_net, smooth_noise
from shared.test_feature_maps import (
    convnext,
    ready,
    timm_registers,
    timm_swin,
    timm_vit,
    torchvision_vit,
    transformers_vit,
)
from torch import Tensor, nn

from evident.errors import NotApplicable, UserError
from evident.explainers.attention import AttentionMap, Kind, SeesAttention

TRANSFORMERS = [timm_vit, timm_registers, torchvision_vit, transformers_vit, TinyTransformer]
every_transformer = pytest.mark.parametrize("build", TRANSFORMERS, ids=lambda build: build.__name__)


@every_transformer
def test_scores_with_visible_attention_are_those_of_the_fused_one(build: Callable[[], nn.Module]) -> None:
    network, images = ready(build), smooth_noise()
    plain = network(images)
    with SeesAttention() as seen:
        scores = network(images)
    torch.testing.assert_close(scores, plain, rtol=1e-4, atol=1e-5)
    assert len(seen.attention) == 2
    for weights in seen.attention:
        assert weights.shape[:2] == (3, 2)
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


@pytest.mark.parametrize("kind", ["rollout", "relevance"])
@pytest.mark.parametrize("build", [timm_vit, timm_registers])
def test_map_follows_its_formula(build: Callable[[], nn.Module], kind: Any) -> None:
    network, images = ready(build).double(), smooth_noise(dtype=torch.float64)
    extra = 5 if build is timm_registers else 1
    heatmap = AttentionMap(network, kind).attribute(images, 3)

    # Without fused attention, timm passes the attention through a dropout layer.
    kept: list[Tensor] = []
    for block in network.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda m, a, output: kept.append(output))
    score = network(images)[:, 3].sum()
    gradients = torch.autograd.grad(score, kept)
    for image in range(3):
        result = torch.eye(16 + extra, dtype=torch.float64)
        for weights, gradient in zip(kept, gradients, strict=True):
            a, g = weights[image].detach(), gradient[image]
            if kind == "rollout":
                mixed = sum(a[h] / 2 for h in range(2)) + torch.eye(16 + extra)
                result = mixed / mixed.sum(1, keepdim=True) @ result
            else:
                result = result + sum((g[h] * a[h]).clamp(min=0) / 2 for h in range(2)) @ result
        # The class token is read, or the average of the patches.
        rows = result[:1] if build is timm_vit else result[extra:]
        expected = rows.mean(0)[extra:].view(4, 4)
        placed = F.interpolate(expected[None, None], (32, 32), mode="bilinear")
        torch.testing.assert_close(heatmap[image][None], placed, rtol=1e-6, atol=1e-9)


def test_rollout_does_not_depend_on_the_class_and_relevance_does() -> None:
    network, images = ready(timm_vit), smooth_noise()

    def differ(kind: Kind) -> bool:
        first, second = (AttentionMap(network, kind).attribute(images, target) for target in (0, 1))
        return not torch.allclose(first, second)

    assert not differ("rollout")
    assert differ("relevance")


def test_attention_finds_the_patch_that_decides() -> None:
    class Copies(nn.Module):
        """A class token that attends to the brightest patch only."""

        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 1, 8, 8, bias=False)
            nn.init.constant_(self.patches.weight, 1 / 192)

        def forward(self, images: Tensor) -> Tensor:
            values = self.patches(images).flatten(2).transpose(1, 2)
            tokens = torch.cat((torch.ones_like(values[:, :1]), values), 1)[:, None]
            keys = torch.cat((tokens[:, :, :1] - 2, tokens[:, :, 1:]), 2)
            read = F.scaled_dot_product_attention(tokens, keys, tokens, scale=50.0)
            return torch.cat((read[:, 0, 0], -read[:, 0, 0]), 1)

    images = torch.full((2, 3, 32, 32), 0.2)
    images[0, :, 8:16, 16:24] = images[1, :, 24:, :8] = 0.9
    for kind, target in (("rollout", 0), ("relevance", 0)):
        heatmap = AttentionMap(Copies(), kind).attribute(images, target)[:, 0]  # type: ignore[arg-type]
        for one, cell in zip(heatmap, ((1, 2), (3, 0)), strict=True):
            row, column = divmod(int(one.argmax()), 32)
            assert (row // 8, column // 8) == cell


def test_networks_without_attention_between_all_tokens_are_refused() -> None:
    images = smooth_noise()
    for network, why in (
        (flower_net(), "FlowerNet has no attention; use grad_cam"),
        (ready(convnext), "no attention"),
        (ready(timm_swin), "within windows"),
    ):
        with pytest.raises(NotApplicable, match=why):
            AttentionMap(network).attribute(images, 1)
    with pytest.raises(UserError, match="kind='sum' is unknown; use rollout or relevance"):
        AttentionMap(TinyTransformer(), "sum")  # type: ignore[arg-type]


def test_attention_without_heads_is_refused() -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 5, 8, 8)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            return F.scaled_dot_product_attention(tokens, tokens, tokens).mean(1)

    with pytest.raises(NotApplicable, match="has no heads"):
        AttentionMap(Single()).attribute(smooth_noise(), 1)


def test_softmax_of_other_axes_is_no_attention() -> None:
    with SeesAttention() as seen:
        torch.rand(2, 3, 4, 4).softmax(1)
        torch.rand(2, 3, 4, 4).softmax(3)
    assert len(seen.attention) == 1


@pytest.mark.parametrize("settings", [{"is_causal": True}, {"enable_gqa": True}])
def test_attention_of_another_kind_is_refused(settings: dict[str, bool]) -> None:
    query = torch.rand(1, 2, 4, 3)
    with SeesAttention(), pytest.raises(NotApplicable, match="causal or grouped"):
        F.scaled_dot_product_attention(query, query, query, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("mask", [torch.eye(4, dtype=torch.bool), torch.eye(4) * 3])
def test_masked_attention_is_that_of_torch(mask: Tensor) -> None:
    query, key, value = torch.rand(3, 1, 2, 4, 3)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with SeesAttention():
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(found, expected)


def test_unfused_attention_is_seen_too() -> None:
    network, images = ready(timm_vit), smooth_noise()
    fused = AttentionMap(network, "relevance").attribute(images, 1)
    for block in network.blocks:
        block.attn.fused_attn = False
    torch.testing.assert_close(AttentionMap(network, "relevance").attribute(images, 1), fused, rtol=1e-3, atol=1e-6)
