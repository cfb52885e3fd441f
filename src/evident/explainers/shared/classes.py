"""The classes of an image that can be explained besides its label.

    predicted       the class with the highest score
    second          the class with the second highest score
    nearest         the class with the highest score but the label and the predicted class
    least_likely    the class with the lowest score
    random          a class drawn at random, neither the label nor the predicted class

The last three are classes that are probably not in the image; the nearest one resembles what is.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.seeding import image_generator

Kind = Literal["predicted", "second", "nearest", "least_likely", "random"]
KINDS: tuple[str, ...] = get_args(Kind)


def class_of(kind: str, scores: Tensor, label: Tensor, images: Tensor, seed: int = 0) -> Tensor:
    """Return the class (N,) of that kind for class scores (N, classes) of images (N, 3, H, W) with labels (N,).

    Random classes depend on the image and the seed only. Raises `UserError` for an unknown kind, or if an image has no
    class of that kind.
    """
    if kind not in KINDS:
        raise UserError(f"class {kind!r} is unknown; use {', '.join(KINDS)}")
    if kind in ("predicted", "least_likely"):
        return scores.argmax(1) if kind == "predicted" else scores.argmin(1)
    eligible = torch.ones_like(scores, dtype=torch.bool)
    eligible.scatter_(1, torch.stack([label, scores.argmax(1)], 1), False)
    if scores.shape[1] < 2 or (kind != "second" and not eligible.any(1).all()):
        raise UserError(f"{scores.shape[1]} classes are too few for a {kind} class of every image; use another kind")
    if kind == "second":
        return scores.topk(2).indices[:, 1]
    if kind == "nearest":
        return scores.masked_fill(~eligible, -torch.inf).argmax(1)
    weights = eligible.cpu().float()
    drawn = [torch.multinomial(w, 1, generator=image_generator(x, seed)) for w, x in zip(weights, images, strict=True)]
    return torch.cat(drawn).to(label)
