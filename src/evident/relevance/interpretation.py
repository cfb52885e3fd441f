"""What a relevant feature means: the average of the image regions that it answers to most.

PAPERS 1.5: of the K training images with the strongest response x of a feature, each is cropped at the receptive field
of the strongest position of the feature's map (clipped at the image's border) and resized; the crops are averaged.
Beside it stands the same average of the feature's own deconvolution. The strongest position is that of the largest
value: a deconvolution starts from positive ones alone.

Whether a relevant feature means its class is a question only beside one that is not relevant: each has a control, a
feature of the same layer chosen by lot.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import resized_crop

from evident.data.images import ImageSet, loader
from evident.models.calls import LayerCall, LayerCalls
from evident.models.untouched import untouched
from evident.relevance.receptive_fields import receptive_fields
from evident.relevance.relevance import Feature, Relevance
from evident.relevance.responses import joined, layer_responses

Deconvolve = Callable[[nn.Module, Tensor, Sequence[Feature]], Tensor]


class Interpretation(NamedTuple):
    """Average visualisations of F features, all in [0, 1].

    `places` (F,) of the features in x; `crops` (F, K, 3, size, size), the strongest first; their averages `crop`
    (F, 3, size, size) and `signal` (F, size, size), of the deconvolution; `labels` (F, K) of the images; `evidence`
    (F, K), the share of the deconvolution that lies in the image's mask, NaN without masks. A feature that answers to
    fewer than K images has zero crops and labels -1 for the rest, which take no part in the averages.
    """

    places: Tensor
    crops: Tensor
    crop: Tensor
    signal: Tensor
    labels: Tensor
    evidence: Tensor


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
    """Average visualisations of all features that are relevant for a class, from K = `count` training images each.

    With `controls`, also of theirs.

    `deconvolve(model, images, features)` gives the features' heatmaps (N, H, W) in [0, 1]. What is kept in memory
    grows with the features, not with the images.
    """
    places = (relevance.weights > 0).any(1).nonzero().squeeze(1)
    if controls:
        places = torch.cat([places, relevance.controls[places]]).unique()
    features = [relevance.features[place] for place in places.tolist()]
    device = next(model.parameters()).device
    strongest, answers = _strongest(model, relevance, places, images, count, batch_size)
    height, width = images.images.shape[-2:]
    fields = receptive_fields(model, (height, width), sorted({f.layer for f in features}))
    crops = torch.zeros(len(features), strongest.shape[1], 3, size, size)
    signals = torch.zeros(len(features), strongest.shape[1], size, size)
    labels = torch.full(strongest.shape, -1)
    evidence = torch.full(strongest.shape, torch.nan)
    feature, rank = answers.nonzero(as_tuple=True)
    for start in range(0, len(feature), batch_size):
        rows = range(len(feature))[start : start + batch_size]
        chosen = [features[place] for place in feature[rows].tolist()]
        batch = images.__getitems__(strongest[feature[rows], rank[rows]].tolist())
        pictures = batch["image"].to(device)
        maps = deconvolve(model, pictures, chosen)[:, None]
        labels[feature[rows], rank[rows]] = batch["label"]
        if "mask" in batch:
            inside = (maps.cpu() * batch["mask"][:, None]).sum((1, 2, 3)) / maps.cpu().sum((1, 2, 3))
            evidence[feature[rows], rank[rows]] = inside
        boxes = _fields_of(model, pictures, chosen, fields)
        for row, picture, heatmap, (top, left, bottom, right) in zip(rows, pictures, maps, boxes, strict=True):
            box = (top, left, max(bottom - top, 1), max(right - left, 1))  # of mere padding it sees nothing
            both = resized_crop(torch.cat([picture, heatmap]), *box, [size, size], antialias=True).cpu()
            crops[feature[row], rank[row]], signals[feature[row], rank[row]] = both[:3], both[3]
    shares = answers / answers.sum(1, keepdim=True).clamp(min=1)
    crop = torch.einsum("fk,fkchw->fchw", shares, crops)
    signal = torch.einsum("fk,fkhw->fhw", shares, signals)
    return Interpretation(places, crops, crop, signal, labels, evidence)


def _strongest(
    model: nn.Module, relevance: Relevance, places: Tensor, images: ImageSet, count: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """The images (F, K) with the strongest response of each feature, and which of them have any."""
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
    """Top, left, bottom, right of what the strongest position of features[n] sees of images[n]."""
    boxes: dict[int, list[int]] = {}

    def visit(call: LayerCall) -> Tensor:
        for row, feature in enumerate(features):
            if feature.layer == call.name:
                boxes[row] = fields[call.name].flatten(1)[:, int(call.output[row, feature.filter].argmax())].tolist()
        return call.output

    with untouched(model), torch.no_grad(), LayerCalls(model, visit):
        model(images)
    return [boxes[row] for row in range(len(features))]
