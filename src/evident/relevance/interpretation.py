"""Interpretation of relevant features: the average of the image regions with the strongest response.

The K training images with the strongest response x of a feature are cropped at the receptive field of the strongest
position of its map (clipped at the border of the image) and resized; the crops are averaged (Oramas et al. 2019). The
same crops of the feature's deconvolution are averaged too. The strongest position is the one with the largest value,
because a deconvolution starts from positive values only.

To test whether relevant features show their class, they are compared with controls: each has a control, a random
feature of the same layer.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import resized_crop

from evident.data.images import ImageSet, loader
from evident.models.calls import LayerCall, LayerCalls
from evident.models.untouched import untouched
from evident.relevance.receptive_fields import receptive_fields
from evident.relevance.relevance import Feature, Relevance
from evident.relevance.responses import joined, layer_responses
from evident.values import Interpretation

Deconvolve = Callable[[nn.Module, Tensor, Sequence[Feature]], Tensor]


def interpret(
    model: nn.Module,
    relevance: Relevance,
    images: ImageSet,
    deconvolve: Deconvolve,
    count: int = 16,
    size: int = 64,
    batch_size: int = 64,
    controls: bool = False,
) -> Interpretation:
    """Compute average visualisations of all features that are relevant to a class, from K = `count` images each.

    With `controls`, the control features are visualised too. `deconvolve(model, images, features)` returns one heatmap
    (N, H, W) in [0, 1] of one feature per image. Memory grows with the number of features, not of images.
    """
    places = (relevance.weights > 0).any(1).nonzero().squeeze(1)
    if controls:
        places = torch.cat([places, relevance.controls[places]]).unique()
    features = [relevance.features[place] for place in places.tolist()]
    device = next(model.parameters()).device
    strongest, responds = _strongest(model, relevance, places, images, count, batch_size)
    height, width = images.images.shape[-2:]
    fields = receptive_fields(model, (height, width), sorted({f.layer for f in features}))
    crops = torch.zeros(len(features), strongest.shape[1], 3, size, size)
    signals = torch.zeros(len(features), strongest.shape[1], size, size)
    labels = torch.full(strongest.shape, -1)
    evidence = torch.full(strongest.shape, torch.nan)
    feature, rank = responds.nonzero(as_tuple=True)
    for start in range(0, len(feature), batch_size):
        rows = range(len(feature))[start : start + batch_size]
        chosen = [features[place] for place in feature[rows].tolist()]
        batch = images.__getitems__(strongest[feature[rows], rank[rows]].tolist())
        pixels = batch["image"].to(device)
        maps = deconvolve(model, pixels, chosen)[:, None]
        labels[feature[rows], rank[rows]] = batch["label"]
        if "mask" in batch:
            inside = (maps.cpu() * batch["mask"][:, None]).sum((1, 2, 3)) / maps.cpu().sum((1, 2, 3))
            evidence[feature[rows], rank[rows]] = inside
        boxes = _fields_of(model, pixels, chosen, fields)
        for row, image, heatmap, (top, left, bottom, right) in zip(rows, pixels, maps, boxes, strict=True):
            # At least one pixel: the receptive field is empty where a position sees only padding.
            box = (top, left, max(bottom - top, 1), max(right - left, 1))
            both = resized_crop(torch.cat([image, heatmap]), *box, [size, size], antialias=True).cpu()
            crops[feature[row], rank[row]], signals[feature[row], rank[row]] = both[:3], both[3]
    shares = responds / responds.sum(1, keepdim=True).clamp(min=1)
    crop = torch.einsum("fk,fkchw->fchw", shares, crops)
    signal = torch.einsum("fk,fkhw->fhw", shares, signals)
    return Interpretation(places, crops, crop, signal, labels, evidence)


def _strongest(
    model: nn.Module, relevance: Relevance, places: Tensor, images: ImageSet, count: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return the images (F, K) with the strongest response of each feature, and which responses are positive."""
    device = next(model.parameters()).device
    response, index = torch.zeros(len(places), 0), torch.zeros(len(places), 0, dtype=torch.long)
    for batch in loader(images, batch_size):
        blocks, _ = layer_responses(model, batch["image"].to(device), list(relevance.layers))
        x = joined(blocks).cpu()[:, places].T
        response = torch.cat([response, x], 1)
        index = torch.cat([index, batch["index"].expand(len(places), -1)], 1)
        response, order = response.topk(min(count, response.shape[1]), dim=1)
        index = index.gather(1, order)
    return index, response > 0


def _fields_of(
    model: nn.Module, images: Tensor, features: Sequence[Feature], fields: dict[str, Tensor]
) -> list[list[int]]:
    """Return the receptive field (top, left, bottom, right) of the strongest position of features[n] in images[n]."""
    boxes: dict[int, list[int]] = {}

    def visit(call: LayerCall) -> Tensor:
        for row, feature in enumerate(features):
            if feature.layer == call.name:
                boxes[row] = fields[call.name].flatten(1)[:, int(call.output[row, feature.filter].argmax())].tolist()
        return call.output

    with untouched(model), torch.no_grad(), LayerCalls(model, visit):
        model(images)
    return [boxes[row] for row in range(len(features))]
