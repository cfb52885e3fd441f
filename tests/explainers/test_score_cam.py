"""Score-CAM: a slow derivation, constant maps, and chunks."""

import pytest
import torch
import torch.nn.functional as F
from samples import flower_net, uniform_noise
from torch import nn

from evident.errors import UserError
from evident.explainers.score_cam import ScoreCAM
from evident.models.normalise import Normalise, mean_colour


def test_map_equals_a_slow_derivation() -> None:
    model = flower_net().double()
    inputs, target = uniform_noise(2, 40, dtype=torch.float64), torch.tensor([2, 0])
    ours = ScoreCAM(model, "features", placement="resized").attribute(inputs, target)
    assert ours.amax() > 0
    neutral = mean_colour(model).double().expand(1, 3, 40, 40)
    with torch.no_grad():
        for n in range(2):
            maps = model.features(model.normalise(inputs[n : n + 1]))[0]
            exponentials = []
            for k in range(len(maps)):
                mask = F.interpolate(maps[None, k : k + 1], (40, 40), mode="bilinear", align_corners=False)
                if mask.max() == mask.min():
                    exponentials.append(torch.zeros(()).double())
                    continue
                mask = (mask - mask.min()) / (mask.max() - mask.min())
                increase = model(mask * inputs[n] + (1 - mask) * neutral) - model(neutral)
                exponentials.append(increase[0, target[n]].exp())
            weights = torch.stack(exponentials) / torch.stack(exponentials).sum()
            cam = sum(weight * each for weight, each in zip(weights, maps, strict=True))
            expected = F.interpolate(cam.clamp(min=0)[None, None], (40, 40), mode="bilinear", align_corners=False)
            torch.testing.assert_close(ours[n], expected[0], rtol=1e-9, atol=1e-12)


def black() -> Normalise:
    """Return a normalisation whose mean colour is black."""
    return Normalise(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Halves(nn.Module):
    """Compute three maps: the image's brightness left, right, and a constant; class 0 is the brightness left."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise, self.maps = black(), nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        grey = self.normalise(images).mean(1, keepdim=True)
        left = (torch.arange(images.shape[3]) < images.shape[3] // 2).to(grey)
        found = self.maps(torch.cat((grey * left, grey * (1 - left), torch.ones_like(grey)), 1))
        return 1000 * found[:, :2].mean((2, 3))


def test_region_that_makes_the_score_gets_the_weight_and_constant_maps_get_none() -> None:
    image = torch.ones(1, 3, 8, 8)
    attribution = ScoreCAM(Halves(), "maps", placement="resized").attribute(image, 0)
    torch.testing.assert_close(attribution[0, 0], (torch.arange(8) < 4).float().expand(8, 8))


def test_image_without_maps_has_an_empty_explanation() -> None:
    convolution = nn.Conv2d(3, 4, 1)
    nn.init.zeros_(convolution.weight)
    model = nn.Sequential(black(), convolution, nn.Flatten(), nn.Linear(4 * 36, 2))
    assert ScoreCAM(model, "1", placement="resized").attribute(torch.rand(2, 3, 6, 6), 1).abs().max() == 0


def test_batch_size_does_not_change_the_map() -> None:
    inputs = uniform_noise(2, 48, dtype=torch.float64)
    one, many = (ScoreCAM(flower_net().double(), "features", batch_size=size).attribute(inputs, 1) for size in (1, 50))
    torch.testing.assert_close(one, many)


def test_unknown_layer_raises() -> None:
    with pytest.raises(UserError, match="layer='nothing' is not a module"):
        ScoreCAM(flower_net(), "nothing")
