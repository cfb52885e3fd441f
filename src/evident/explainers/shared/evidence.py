"""The explanation and the complement that a mask makes of an image, and their scores.

With m the mask, x the image and r the network's mean colour (zero after the network's normalisation):

    explanation = m x + (1 - m) r        complement = (1 - m) x + m r
"""

import torch
from torch import Tensor, nn

from evident.explainers.shared.targets import probability, target_scores
from evident.models.reference_images import reference_images
from evident.values import Evidence


def evidence(model: nn.Module, images: Tensor, target: Tensor, mask: Tensor) -> Evidence:
    """Return the evidence for `target` (N,) that `mask` (N, 1 or 3, H, W) marks in images (N, 3, H, W)."""
    with torch.no_grad():
        without = reference_images(images, model, "mean_colour")
        mask = mask.expand_as(images)
        explanation, complement = torch.lerp(without, images, mask), torch.lerp(images, without, mask)
        scores = [
            target_scores(probability(model, model(shown)), target) for shown in (images, explanation, complement)
        ]
    return Evidence(mask, explanation, complement, *scores)
