"""What a mask keeps of an image, what it leaves, and what the network says of either.

With m the mask, x the image and r the network's mean colour (zero where the network has normalised):

    explanation = m x + (1 - m) r        complement = (1 - m) x + m r
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from evident.explainers.shared.targets import probability, target_scores
from evident.models.reference_images import reference_images


class Evidence(NamedTuple):
    """An explanation that is an image itself.

    mask (N, 3, H, W) in [0, 1], one where a colour channel of a pixel is evidence; explanation and complement
    (N, 3, H, W) in [0, 1], the image with the evidence alone and without it; the target's softmax probability (N,),
    or a regression's score itself, of the image and of both.
    """

    mask: Tensor
    explanation: Tensor
    complement: Tensor
    score: Tensor
    explanation_score: Tensor
    complement_score: Tensor


def evidence(model: nn.Module, images: Tensor, target: Tensor, mask: Tensor) -> Evidence:
    """The evidence for `target` (N,) that `mask` (N, 1 or 3, H, W) marks in images (N, 3, H, W)."""
    with torch.no_grad():
        without = reference_images(images, model, "mean_colour")
        mask = mask.expand_as(images)
        explanation, complement = torch.lerp(without, images, mask), torch.lerp(images, without, mask)
        scores = [
            target_scores(probability(model, model(shown)), target) for shown in (images, explanation, complement)
        ]
    return Evidence(mask, explanation, complement, *scores)
