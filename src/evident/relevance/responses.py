r"""Responses of a network's features to an image: one number per filter, in one forward pass ("filterL2L1").

For every chosen layer l with maps A_l (K_l, h, w) (Oramas, Wang, Tuytelaars 2019):

    r_lk = sum_ij A_l[k, i, j]^2            squared L2 norm of a filter's map
    x_lk = r_lk / sum_k' r_lk'              each layer sums to one
    x    = x / ||x||_2                      over all layers together

A fully connected layer has maps of 1x1. The last convolution or fully connected layer and everything after it compute
the class scores; they are not features.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from evident.errors import NotApplicable, UserError
from evident.models.calls import LayerCall, LayerCalls
from evident.models.untouched import untouched

Layers = str | Sequence[str]
WEIGHTED = ("conv2d", "conv_transpose2d", "linear")


def responses(model: nn.Module, images: Tensor, layers: Layers = "relu") -> Tensor:
    """Compute the responses x (N, m) to images (N, 3, H, W); they are non-negative with ||x||_2 = 1.

    `layers` is `relu` (outputs of all rectifiers), `all` (all intermediate layers, as the authors use), another kind
    (`conv2d`, `max_pool2d`, ...), the name of a layer as in `layer_responses`, or a list of these. Raises `UserError`
    for unknown layers, and `NotApplicable` for a network on tokens or with channels last.
    """
    return joined(layer_responses(model, images, layers)[0])


def layer_responses(model: nn.Module, images: Tensor, layers: Layers = "relu") -> tuple[dict[str, Tensor], Tensor]:
    """Compute r_lk / sum_k' r_lk' (N, K_l) for each layer, in the order of the forward pass, and the class scores.

    A layer whose output is zero for an image has zeros. Raises `UserError` for unknown layers.
    """
    named = [layers] if isinstance(layers, str) else list(layers)
    calls: dict[str, str] = {}
    energies: dict[str, Tensor] = {}

    def visit(call: LayerCall) -> Tensor:
        calls[call.name] = call.kind
        if not {"all", call.kind, call.name}.isdisjoint(named):
            energies[call.name] = _energy(call.output)
        return call.output

    with untouched(model), torch.no_grad(), LayerCalls(model, visit) as seen:
        output = model(images)
    if seen.unread:
        raise NotApplicable(
            f"{seen.unread[0]} of {type(model).__name__} computes on tokens or on maps with channels last, which have "
            "no filters to choose from; use a network of convolutions, or another explainer than VEBI"
        )
    names = list(calls)
    last = max((position for position, name in enumerate(names) if calls[name] in WEIGHTED), default=len(names))
    features = set(names[:last])
    unknown = [name for name in named if name not in {"all", *features, *map(calls.get, features)}]
    if unknown or not energies.keys() & features:
        known = ", ".join(names[:last])
        # A network without rectifiers does not suit the default; other names are mistakes.
        kind = NotApplicable if set(named) <= {"relu", "all"} else UserError
        raise kind(
            f"layers={', '.join(unknown or named) or named} names no intermediate layer of {type(model).__name__}; "
            f"use relu, all, or a list of {known}"
        )
    energies = {name: energy for name, energy in energies.items() if name in features}
    # All layers at once: for small maps, the time depends on the number of calls.
    r, sizes = torch.cat(list(energies.values()), 1), [energy.shape[1] for energy in energies.values()]
    layer = torch.arange(len(sizes), device=r.device).repeat_interleave(torch.tensor(sizes, device=r.device))
    sums = r.new_zeros(len(r), len(sizes)).index_add(1, layer, r).clamp(min=torch.finfo(r.dtype).tiny)
    return dict(zip(energies, (r / sums[:, layer]).split(sizes, dim=1), strict=True)), output


def joined(blocks: Mapping[str, Tensor]) -> Tensor:
    """Join the blocks (N, K_l) of all layers to x (N, m) with unit length."""
    return torch.nn.functional.normalize(torch.cat(list(blocks.values()), 1), dim=1, eps=1e-30)


def _energy(maps: Tensor) -> Tensor:
    """Return the sum of squares (N, K) over the positions of maps (N, K, h, w) or (N, K)."""
    if maps.dim() == 2:
        return maps.square()
    if maps.is_contiguous(memory_format=torch.channels_last):
        # Reducing along the memory layout is several times faster. One megabyte of squares at a time: allocating new
        # memory takes longer than computing the squares.
        pixels = maps.permute(0, 2, 3, 1).flatten(1, 2)
        parts = pixels.split(max(1, 2**18 // pixels[0].numel())) if maps.is_cpu else [pixels]
        return torch.cat([part.square().sum(1) for part in parts])
    return torch.linalg.vector_norm(maps, dim=(2, 3)).square()
