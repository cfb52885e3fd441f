"""Reference rows: random numbers, the centre, edges and the mask; and the reductions to heatmaps."""

import pytest
import torch
from torch import nn

from evident.errors import UserError
from evident.explainers.reference_rows import Centre, Constant, Edges, Oracle, Random
from evident.explainers.shared.heatmap import absolute_maximum, channel_norm, positive_sum, reduction

NETWORK = nn.Identity()


def test_random_is_uniform_and_depends_on_seed_and_image_only() -> None:
    images = torch.rand(4, 3, 64, 48)
    noise = Random(NETWORK, seed=1).attribute(images, 0)
    assert noise.shape == (4, 1, 64, 48)
    assert noise.mean() == pytest.approx(1 / 2, abs=0.02)
    assert noise.var() == pytest.approx(1 / 12, abs=0.01)
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise, Random(NETWORK, seed=2).attribute(images, 0))
    assert torch.equal(noise[2:3], Random(NETWORK, seed=1).attribute(images[2:3], 3))


def test_centre_is_a_gaussian_at_the_centre_of_both_sides() -> None:
    heatmap = Centre(NETWORK, width=0.25).attribute(torch.rand(2, 3, 41, 21), 0)[1, 0]
    assert heatmap.argmax() == 20 * 21 + 10
    assert heatmap.max() == 1
    torch.testing.assert_close(heatmap, heatmap.flip(0))
    torch.testing.assert_close(heatmap, heatmap.flip(1))
    # The first pixel of a side is 20/41 of the side from the centre.
    assert heatmap[0, 10] == pytest.approx(torch.exp(torch.tensor(-0.5 * (20 / 41 / 0.25) ** 2)).item())


def test_constant_is_one_everywhere() -> None:
    assert torch.equal(Constant(NETWORK).attribute(torch.rand(2, 3, 5, 7), 0), torch.ones(2, 1, 5, 7))


def test_edges_are_at_steps_of_the_luminance() -> None:
    images = torch.zeros(1, 3, 8, 8)
    images[:, 1, :, 4:] = 0.5
    edges = Edges(NETWORK).attribute(images, 0)[0, 0]
    step = 4 * 0.587 * 0.5
    torch.testing.assert_close(edges[:, 3:5], torch.full((8, 2), step))
    assert edges[:, :3].max() == 0
    assert edges[:, 5:].max() == 0


def test_oracle_is_the_mask() -> None:
    mask = torch.rand(2, 8, 8) > 0.5
    oracle = Oracle(NETWORK)
    heatmap = oracle.heatmap(oracle.attribute_mask(torch.rand(2, 3, 8, 8), 0, mask))
    assert torch.equal(heatmap, mask.float())


def test_oracle_without_a_mask_raises() -> None:
    with pytest.raises(UserError, match="explainer=oracle needs masks"):
        Oracle(NETWORK).attribute(torch.rand(2, 3, 8, 8), 0)


def test_the_three_reductions_of_one_pixel() -> None:
    attribution = torch.tensor([3.0, -5.0, 4.0]).view(1, 3, 1, 1)
    assert positive_sum(attribution).item() == 2
    assert positive_sum(-attribution).item() == 0
    assert absolute_maximum(attribution).item() == 5
    assert channel_norm(attribution).item() == 5
    assert reduction("channel_norm") is channel_norm


def test_positive_sum_of_a_grey_image_equals_that_of_its_channel() -> None:
    one = torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(positive_sum(one.expand(-1, 3, -1, -1) / 3), positive_sum(one))
