r"""Explanations by the attention of a vision transformer: rollout, and attention weighted by its gradient.

With A_b (heads, T, T) the attention of block b, whose rows sum to one, and S the class score:

    rollout      R = prod_b (mean_h A_b + I) / 2                Abnar and Zuidema, ACL 2020, section 3
    relevance    R <- R + mean_h max(dS/dA_b * A_b, 0) R,  from R = I    Chefer et al., ICCV 2021, equations 5 and 6

The map is the row of R for the tokens that the classifier reads (the class token; all patches where they are averaged),
in the columns of the patches. Rollout does not depend on the class. Patches divide the image evenly.

Attention is seen where it is computed: a call of torch's fused attention is replaced by the same attention with
weights, `nn.MultiheadAttention` is asked for its weights, and in other code the softmax of square matrices is read. The
tokens that the classifier reads are those whose last attention has a gradient.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import NotApplicable, UserError
from evident.explainers.shared.feature_maps import SeesLayouts
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.placement import placed_evenly
from evident.explainers.shared.targets import target_scores
from evident.models.untouched import untouched

Kind = Literal["rollout", "relevance"]
_SOFTMAX = frozenset((F.softmax, torch.softmax, Tensor.softmax))


class SeesAttention(SeesLayouts):
    """Keep the attention (N, heads, T, T) of every block of a forward pass, in `attention`."""

    def __init__(self) -> None:
        super().__init__()
        self.attention: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            asked = kwargs.get("need_weights", True)
            output, weights = func(*args, **{**kwargs, "need_weights": True, "average_attn_weights": False})
            self.attention.append(weights)
            return output, weights if asked else None
        output = super().__torch_function__(func, types, args, kwargs)
        if func in _SOFTMAX and output.dim() == 4 and _rows_sum_to_one(output):
            self.attention.append(output)
        return output

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Compute torch's fused attention with its weights; dropout is inactive in eval mode."""
        if is_causal or enable_gqa:
            raise NotApplicable("the attention is causal or grouped, as in a language model; use integrated_gradients")
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        weights = scores.softmax(-1)
        self.attention.append(weights)
        return weights @ value


def _rows_sum_to_one(weights: Tensor) -> bool:
    """Return whether weights (N, heads, T, T) are attention; the softmax of other axes, as of segmentations, is not."""
    return weights.shape[2] == weights.shape[3] and bool((weights.detach().sum(-1) - 1).abs().max() < 1e-3)


class AttentionMap(Attribution):
    """Compute the rollout or the relevance of attention (N, 1, H, W), placed in the image.

    Raises `UserError` for an unknown kind, and for a network without attention between all of its tokens.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, kind: Kind = "rollout") -> None:
        if kind not in get_args(Kind):
            raise UserError(f"kind={kind!r} is unknown; use {' or '.join(get_args(Kind))}")
        super().__init__(model)
        self.model, self.kind = model, kind

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model, inputs):
            images = inputs.detach().clone().requires_grad_()
            with SeesAttention() as seen:
                scores = target_scores(self.model(images), target)
            self._check(seen.attention, len(inputs))
            gradients = torch.autograd.grad(scores.sum(), seen.attention)
        attention = [weights.detach() for weights in seen.attention]
        tokens = attention[0].shape[-1]
        layout = seen.of_tokens(tokens)
        if layout is None:
            raise NotApplicable(f"the {tokens} tokens of {type(self.model).__name__} are not those of all patches")
        identity = torch.eye(tokens).to(inputs)
        result = identity
        for weights, gradient in zip(attention, gradients, strict=True):
            if self.kind == "rollout":
                result = (weights.mean(1) + identity) / 2 @ result
            else:
                result = result + (gradient * weights).clamp(min=0).mean(1) @ result
        read = gradients[-1].abs().sum((1, 3)) > 0
        shares = read.to(result) / read.sum(1, keepdim=True).clamp(min=1)
        row = (shares[:, None] @ result).transpose(1, 2)
        return placed_evenly(layout.maps(row), inputs)

    def _check(self, attention: list[Tensor], count: int) -> None:
        name = type(self.model).__name__
        if not attention:
            raise NotApplicable(f"{name} has no attention; use grad_cam, which explains feature maps")
        tokens = attention[0].shape[-1]
        for weights in attention:
            if weights.dim() != 4 or len(weights) != count or weights.shape[-2:] != (tokens, tokens):
                raise NotApplicable(
                    f"{name} attends within windows, merges tokens or has no heads: attention of "
                    f"{tuple(weights.shape)} cannot be multiplied; use grad_cam"
                )
