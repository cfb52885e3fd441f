"""The same work by other packages: captum, pytorch-grad-cam, TorchRay, Quantus and SPAMS.

Each function returns what its package does for one subject, ready to be called. The packages are imported inside, so
that none of them is needed: `ImportError` names the one that is missing, and its column stays blank.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evident.models.reference_images import reference_images

Work = Callable[[], object]
INSTALL = {"captum": "captum", "pytorch_grad_cam": "grad-cam", "torchray": "torchray", "quantus": "quantus"}


class Subject(NamedTuple):
    """Hold what is explained: a network, images (N, 3, H, W), one class for each, and the last layer with maps."""

    network: nn.Module
    images: Tensor
    target: Tensor
    layer: str

    def leaf(self, count: int | None = None) -> Tensor:
        """Return a copy of the first `count` images that gradients are taken for."""
        return self.images[:count].clone().requires_grad_()


def _captum_gradient(subject: Subject) -> Work:
    from captum.attr import Saliency

    return lambda: Saliency(subject.network).attribute(subject.leaf(), subject.target, abs=False)


def _captum_guided(subject: Subject) -> Work:
    from captum.attr import GuidedBackprop

    return lambda: GuidedBackprop(subject.network).attribute(subject.leaf(), subject.target)


def _captum_grad_cam(subject: Subject) -> Work:
    from captum.attr import LayerGradCam

    method = LayerGradCam(subject.network, subject.network.get_submodule(subject.layer))
    size = list(subject.images.shape[-2:])
    return lambda: F.interpolate(
        method.attribute(subject.leaf(), subject.target, relu_attributions=True), size, mode="bilinear"
    )


def _captum_integrated(subject: Subject) -> Work:
    from captum.attr import IntegratedGradients

    black, steps = reference_images(subject.images[:1], subject.network, "mean_colour"), len(subject.images)
    method = IntegratedGradients(subject.network)
    return lambda: method.attribute(subject.leaf(1), black, subject.target[:1], n_steps=steps)


def _captum_occlusion(subject: Subject) -> Work:
    from captum.attr import Occlusion

    side = min(subject.images.shape[-2:])
    window, stride, image = round(side / 7), round(side / 14), subject.images[:1]
    reference = reference_images(image, subject.network, "mean_colour")
    explain = partial(Occlusion(subject.network).attribute, image, (3, window, window), (3, stride, stride), reference)
    return torch.no_grad()(partial(explain, subject.target[:1], perturbations_per_eval=len(subject.images)))


def _grad_cam_of_package(subject: Subject) -> Work:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def explain() -> object:
        with GradCAM(subject.network, [subject.network.get_submodule(subject.layer)]) as method:
            return method(subject.leaf(), [ClassifierOutputTarget(int(label)) for label in subject.target])

    return explain


def _torchray_gradient(subject: Subject) -> Work:
    from torchray.attribution.gradient import gradient

    return lambda: gradient(subject.network, subject.leaf(), subject.target)


def _torchray_guided(subject: Subject) -> Work:
    from torchray.attribution.guided_backprop import guided_backprop

    return lambda: guided_backprop(subject.network, subject.leaf(), subject.target)


def _torchray_grad_cam(subject: Subject) -> Work:
    from torchray.attribution.grad_cam import grad_cam

    options = {"saliency_layer": subject.layer, "resize": True}
    return lambda: grad_cam(subject.network, subject.leaf(), subject.target, **options)


def _torchray_rise(subject: Subject) -> Work:
    from torchray.attribution.rise import rise

    count = len(subject.images)
    return lambda: rise(subject.network, subject.images[:8], num_masks=count, batch_size=count)


def _quantus(subject: Subject, metric: Any) -> Work:
    images, target = subject.images.numpy(), subject.target.numpy()
    heatmap = images.mean(1, keepdims=True)
    return lambda: metric(subject.network, images, target, heatmap, device="cpu", batch_size=len(images))


def _quantus_pixels(subject: Subject) -> Work:
    import quantus

    pixels = subject.images[0, 0].numel()
    steps = next(steps for steps in range(40, pixels + 1) if pixels % steps == 0)  # it takes steps of equal size only
    metric = quantus.PixelFlipping(features_in_step=pixels // steps, perturb_baseline="mean", disable_warnings=True)
    return _quantus(subject, metric)


def _quantus_squares(subject: Subject) -> Work:
    import quantus

    options: dict[str, Any] = {
        "patch_size": subject.images.shape[-1] // 7,
        "regions_evaluation": 40,
        "perturb_baseline": "mean",
    }
    return _quantus(subject, quantus.RegionPerturbation(**options, disable_warnings=True))


PEERS: dict[str, Mapping[str, Callable[[Subject], Work]]] = {
    "gradient": {"captum": _captum_gradient, "torchray": _torchray_gradient},
    "Grad-CAM": {"captum": _captum_grad_cam, "grad-cam": _grad_cam_of_package, "torchray": _torchray_grad_cam},
    "guided backpropagation": {"captum": _captum_guided, "torchray": _torchray_guided},
    "integrated gradients": {"captum": _captum_integrated},
    "RISE": {"torchray": _torchray_rise},
    "occlusion": {"captum": _captum_occlusion},
    "deletion and insertion": {"quantus": _quantus_pixels},
    "deletion and insertion of squares": {"quantus": _quantus_squares},
}
