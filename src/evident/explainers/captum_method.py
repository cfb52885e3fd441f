"""Any captum attribution as a baseline, configured by a YAML file alone.

    build:
      _target_: evident.explainers.captum_method.CaptumMethod
      method: captum.attr.FeatureAblation     # the class, built from the model
      construct: {}                           # further arguments of its constructor
      attribute: {perturbations_per_eval: 8}  # further arguments of its `attribute`
      baseline: mean_colour                   # passed on as `baselines`; omit it for a method without baselines
      heatmap: positive_sum                   # the reduction of the attribution to a heatmap

A method that draws random numbers also needs `seed: ${seed}`. Captum's DeepLift, guided backpropagation, deconvolution
and LRP hook modules; on a network where they would miss a call, they raise an error that names our own method.
"""

import warnings
from collections.abc import Mapping, Sequence
from pydoc import ErrorDuringImport, locate
from typing import Any

import torch
from captum.attr import Attribution, NoiseTunnel
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.heatmap import reduction
from evident.explainers.shared.module_hooks import ask_for_hooked_modules
from evident.explainers.shared.seeding import global_state, seeded
from evident.explainers.shared.targets import targets, within_classes
from evident.models.reference_images import Reference, reference_images
from evident.models.untouched import check_images, untouched


def _find(method: str | type[Attribution]) -> type[Attribution]:
    try:
        # Not Hydra's `get_class`, which logs an error of several lines before it raises.
        found = locate(method) if isinstance(method, str) else method
    except ErrorDuringImport as error:
        raise UserError(f"method={method!r} cannot be imported ({error}); use one like captum.attr.DeepLift") from error
    if found is None:
        raise UserError(f"method={method!r} was not found; use one like captum.attr.DeepLift")
    if not (isinstance(found, type) and issubclass(found, Attribution)):
        raise UserError(f"method={method!r} is not a captum Attribution; use one like captum.attr.DeepLift")
    return found


def _with_tuples(value: Any) -> Any:
    """Replace the lists of YAML by the tuples that captum expects."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return tuple(_with_tuples(each) for each in value) if is_list else value


class CaptumMethod(Attribution):
    """Compute the attribution (N, 3, H, W), or (N, 1, H, W), of a captum method, `batch_size` images at a time.

    `noise_tunnel` wraps the method in captum's NoiseTunnel and holds the arguments of its `attribute` (nt_type,
    nt_samples, stdevs). With a `seed`, images are explained one by one, and the random draws depend on the image and
    the seed only. Raises `UserError` for an unknown method, heatmap or reference, for a method that draws random
    numbers without a seed, and for a method that hooks modules on a network with calls that it misses
    (`module_hooks`).
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
        self.settings = {
            key: _with_tuples(value) for key, value in {**(attribute or {}), **(noise_tunnel or {})}.items()
        }
        self.baseline, self.seed, self.batch_size = baseline, seed, batch_size

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        check_images(inputs, self.model)
        ask_for_hooked_modules(self.method, self.model, inputs)
        size = self.batch_size if self.seed is None else 1
        with untouched(self.model, inputs), warnings.catch_warnings():
            # Captum warns that it sets hooks; `untouched` removes them.
            warnings.filterwarnings("ignore", "Setting (forward, )?backward hooks", UserWarning)
            classes = targets(target, len(inputs)).to(inputs.device)
            parts = zip(inputs.detach().split(size), classes.split(size), strict=True)
            with within_classes(self.model, classes):
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
        # Gradient methods warn about inputs without `requires_grad`.
        return method.attribute(images.clone().requires_grad_(), target=target, **settings).detach()
