"""The ground truth corrupted in known steps."""

import math

import pytest
import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.corrupted_oracle import KINDS, CorruptedOracle

SIDE = 40


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def square() -> Tensor:
    """Return a mask (3, SIDE, SIDE) of a square of 8 x 8 pixels in the middle."""
    mask = torch.zeros(3, SIDE, SIDE, dtype=torch.bool)
    mask[:, 16:24, 16:24] = True
    return mask


def corrupted(kind: str, dose: float, truth: Tensor | None = None, seed: int = 0) -> Tensor:
    oracle = CorruptedOracle(nn.Identity(), kind, dose, seed=seed)
    return oracle.attribute_mask(images(), 0, square() if truth is None else truth)[:, 0]


def inside(heatmaps: Tensor) -> list[float]:
    """Return the share of the 64 highest pixels that lie in the square."""
    highest = heatmaps.flatten(1).topk(64).indices
    return square().flatten(1).gather(1, highest).double().mean(1).tolist()


@pytest.mark.parametrize("kind", ["pixel_noise", "smooth_noise", "shift"])
@pytest.mark.parametrize("dose", [0.05, 0.5, 1])
def test_a_mask_stays_a_mask_of_the_same_size(kind: str, dose: float) -> None:
    assert torch.equal(corrupted(kind, dose).flatten(1).sort().values, square().flatten(1).float().sort().values)


@pytest.mark.parametrize("kind", ["pixel_noise", "smooth_noise", "shift"])
def test_more_of_the_evidence_is_lost_at_every_dose(kind: str) -> None:
    doses = (0.02, 0.1, 0.2, 0.4) if kind == "shift" else (0.05, 0.25, 0.5, 1)
    found = [sum(inside(corrupted(kind, dose))) / 3 for dose in doses]
    assert found[0] > 0.8
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.3


@pytest.mark.parametrize("kind", ["pixel_noise", "smooth_noise"])
def test_nothing_of_the_ground_truth_is_left_at_dose_one(kind: str) -> None:
    assert torch.equal(corrupted(kind, 1), corrupted(kind, 1, square().roll(9, 1)))


def test_shift_moves_the_square_by_half_the_dose_of_the_side() -> None:
    moved = corrupted("shift", 0.5) == 1
    assert moved.sum((1, 2)).tolist() == [64] * 3
    middle = (SIDE - 1) / 2
    for mask in moved:
        ends = torch.nonzero(mask).double()
        # Around the border the mean is of no use, so the nearest copy of each pixel counts.
        offset = (ends - middle + SIDE / 2) % SIDE - SIDE / 2
        spread = offset.amax(0) - offset.amin(0)
        if (spread < 9).all():
            assert math.hypot(*offset.mean(0).tolist()) == pytest.approx(0.25 * SIDE, abs=0.8)


def test_dilation_is_the_maximum_over_a_disc() -> None:
    truth = torch.zeros(3, SIDE, SIDE)
    truth[:, 20, 20] = 1
    grown = corrupted("dilation", 0.3, truth)  # a radius of six pixels
    down, across = torch.meshgrid(torch.arange(SIDE) - 20, torch.arange(SIDE) - 20, indexing="ij")
    disc = down**2 + across**2 <= 36
    highest = grown == grown.amax((1, 2), keepdim=True)
    assert torch.equal(highest, disc.expand_as(highest))


@pytest.mark.parametrize("kind", KINDS)
def test_truth_itself_is_left_at_next_to_no_dose(kind: str) -> None:
    truth = torch.linspace(-1, 1, SIDE**2).view(1, SIDE, SIDE).repeat(3, 1, 1)
    for given in (truth, square().float()):
        assert torch.equal(CorruptedOracle(nn.Identity(), kind, 1e-9).attribute_mask(images(), 0, given)[:, 0], given)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_depend_on_image_and_seed_only(kind: str) -> None:
    whole = corrupted(kind, 0.3)
    oracle = CorruptedOracle(nn.Identity(), kind, 0.3)
    assert torch.equal(oracle.attribute_mask(images()[1:2], 0, square()[1:2])[:, 0], whole[1:2])
    assert torch.equal(corrupted(kind, 0.3, seed=1), whole) is (kind == "dilation")  # which draws nothing


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(UserError, match="kind='blur' is unknown; use one of pixel_noise, smooth_noise"):
        CorruptedOracle(nn.Identity(), "blur", 0.5)
    with pytest.raises(UserError, match=r"dose=0 is not in \(0, 1\]"):
        CorruptedOracle(nn.Identity(), "shift", 0)
    with pytest.raises(UserError, match="corrupted oracle needs masks"):
        CorruptedOracle(nn.Identity(), "shift", 0.5).attribute(images(), 0)
