"""Any attribution of captum's as a baseline, by a YAML file alone.

    build:
      _target_: evident.explainers.captum_method.CaptumMethod
      method: captum.attr.FeatureAblation     # the class, built from the model
      construct: {}                           # what else its constructor takes
      attribute: {perturbations_per_eval: 8}  # what else its `attribute` takes
      baseline: mean_colour                   # handed on as `baselines`; left out where there is none
      heatmap: positive_sum                   # how the attribution becomes a heatmap

A method that draws random numbers also takes `seed: ${seed}`.
"""

import importlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from captum.attr import Attribution, NoiseTunnel
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.heatmap import reduction
from evident.explainers.shared.seeding import global_state, seeded
from evident.explainers.shared.targets import targets
from evident.models.reference_images import Reference, reference_images
from evident.models.untouched import untouched


def _find(method: str | type[Attribution]) -> type[Attribution]:
    if isinstance(method, str):
        module, _, name = method.rpartition(".")
        try:
            method = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            raise UserError(f"method={method!r} is not to be found; use one like captum.attr.DeepLift") from None
    if not (isinstance(method, type) and issubclass(method, Attribution)):
        raise UserError(f"method={method!r} is no captum Attribution; use one like captum.attr.DeepLift")
    return method


def _plain(value: Any) -> Any:
    """Captum wants tuples where YAML has lists."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return tuple(_plain(each) for each in value) if is_list else value


class CaptumMethod(Attribution):
    """The attribution (N, 3, H, W), or (N, 1, H, W), of a captum method, `batch_size` images at a time.

    `noise_tunnel` wraps the method in captum's NoiseTunnel and holds what that one's `attribute` takes
    (nt_type, nt_samples, stdevs). With a `seed`, images go one by one, each with draws that belong to it.
    Raises `UserError` for an unknown method, heatmap or reference, and for a method that draws random
    numbers without a seed.
    """

    def __init__(
        self,
        model: nn.Module,
        method: str | type[Attribution],
        heatmap: str,
        attribute: Mapping[str, Any] | None = None,
        construct: Mapping[str, Any] | None = None,
        noise_tunnel: Mapping[str, Any] | None = None,
        baseline: Reference | None = None,
        seed: int | None = None,
        batch_size: int = 16,
    ) -> None:
        super().__init__(model)
        self.model = model
        self.method = _find(method)
        self.heatmap = reduction(heatmap)
        self.construct = dict(construct or {})
        self.noise_tunnel = noise_tunnel is not None
        self.settings = {key: _plain(value) for key, value in {**(attribute or {}), **(noise_tunnel or {})}.items()}
        self.baseline, self.seed, self.batch_size = baseline, seed, batch_size

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        size = self.batch_size if self.seed is None else 1
        with untouched(self.model), warnings.catch_warnings():
            # They say that hooks are set and removed, which `untouched` sees to.
            warnings.filterwarnings("ignore", "Setting (forward, )?backward hooks", UserWarning)
            classes = targets(target, len(inputs)).to(inputs.device)
            parts = zip(inputs.detach().split(size), classes.split(size), strict=True)
            return torch.cat([self._explain(*part) for part in parts])

    def _explain(self, images: Tensor, target: Tensor) -> Tensor:
        if self.seed is not None:
            with seeded(images[0], self.seed):
                return self._call(images, target)
        state = global_state(images.device)
        attribution = self._call(images, target)
        if not all(map(torch.equal, state, global_state(images.device))):
            raise UserError(f"{self.method.__name__} draws random numbers; add `seed: ${{seed}}` to its build")
        return attribution

    def _call(self, images: Tensor, target: Tensor) -> Tensor:
        method = self.method(self.model, **self.construct)
        settings = dict(self.settings)
        if self.noise_tunnel:
            method = NoiseTunnel(method)
        if self.baseline is not None:
            settings["baselines"] = reference_images(images, self.model, self.baseline)
        # Gradient methods warn where they have to ask for the gradient themselves.
        return method.attribute(images.clone().requires_grad_(), target=target, **settings).detach()
