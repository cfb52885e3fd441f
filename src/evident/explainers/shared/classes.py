"""Which class of an image is explained, beside the one that it is labelled with.

    predicted       the class of the highest score
    second          of the second highest
    least_likely    of the lowest
    random          by lot, neither the label nor predicted

The last two are classes that are hardly in the image.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.seeding import image_generator

Kind = Literal["predicted", "second", "least_likely", "random"]
KINDS: tuple[str, ...] = get_args(Kind)


def class_of(kind: str, scores: Tensor, label: Tensor, images: Tensor, seed: int = 0) -> Tensor:
    """The class (N,) of that kind, of class scores (N, classes) of images (N, 3, H, W) labelled `label` (N,).

    Lots belong to the image and the seed. Raises `UserError` for an unknown kind and where there is no such class.
    """
    if kind not in KINDS:
        raise UserError(f"class {kind!r} is unknown; use {', '.join(KINDS)}")
    if kind in ("predicted", "least_likely"):
        return scores.argmax(1) if kind == "predicted" else scores.argmin(1)
    open_to_lot = torch.ones_like(scores, dtype=torch.bool)
    open_to_lot.scatter_(1, torch.stack([label, scores.argmax(1)], 1), False)
    if scores.shape[1] < 2 or (kind == "random" and not open_to_lot.any(1).all()):
        raise UserError(f"{scores.shape[1]} classes leave no {kind} one for every image; explain another")
    if kind == "second":
        return scores.topk(2).indices[:, 1]
    weights = open_to_lot.cpu().float()
    lots = [torch.multinomial(w, 1, generator=image_generator(x, seed)) for w, x in zip(weights, images, strict=True)]
    return torch.cat(lots).to(label)
