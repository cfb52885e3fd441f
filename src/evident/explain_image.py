"""One picture of the user's: what the network sees in it, and where."""

import json
import logging
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from matplotlib.figure import Figure
from omegaconf import DictConfig
from PIL import Image, ImageOps
from torch import Tensor, nn

from evident import store
from evident.cell import check, load_data
from evident.data.scenes.photos import Stretch
from evident.errors import UserError
from evident.explainers.shared.learning import learn
from evident.explainers.shared.targets import probability
from evident.models import training
from evident.models.regression import is_regression
from evident.report.figures.features import decoupled_figure
from evident.report.figures.heatmaps import draw_heatmap, draw_image
from evident.report.figures.scenes import SceneExplanation, explanations_figure

log = logging.getLogger("evident")


def explain(config: DictConfig) -> None:
    """Write heatmap, overlay and prediction of `config.image` under results/explain/.

    An explainer that shows features one by one adds them to the prediction, and what each sees as `features.png`;
    one whose explanation is an image adds that as `explanation.png`, what it leaves as `complement.png`, its mask as
    `mask.png`, and the probabilities of both; one that states what each attribute contributes adds that, drawn in
    `explanation.png`. A network of scenes predicts scores, and the first is explained.
    Raises `UserError` for a picture that cannot be read, an unknown class, or an explainer that needs a mask.
    """
    check(config)
    overrides = list(HydraConfig.get().overrides.task)
    if not any(given.startswith(("data=", "experiment=")) for given in overrides):
        config = compose("config", [*overrides, f"data={config.model.data}"])
    config = training.on_base(config)
    torch.set_num_threads(config.threads)
    image = read_picture(Path(config.image), config.data.size, config.data.get("resize"))
    network, classes = training.ready(config, partial(load_data, config))
    explainer = instantiate(config.explainer.build, _partial_=True)(network)
    if getattr(explainer, "needs_mask", False):
        raise UserError(f"explainer={config.explainer.name} needs a mask of the true evidence, which no picture has")
    learn(explainer, lambda: load_data(config).train, Path(config.paths.store), training.identity(config))
    with torch.no_grad():
        outputs = network(image[None])
    score = probability(network, outputs)[0]
    target = config.target
    if target is None:
        target = 0 if is_regression(network) else score.argmax().item()
    if not isinstance(target, int) or target not in range(len(classes)):
        raise UserError(f"target={target} is no class of {config.model.name}; use 0 to {len(classes) - 1}")
    asked = image[None], torch.tensor([target])
    # What `attribute` gives is the evidence's mask: an optimisation is not done twice.
    evidence = explainer.evidence(*asked) if hasattr(explainer, "evidence") else None
    heatmap = explainer.heatmap(explainer.attribute(*asked) if evidence is None else evidence.mask)[0]
    prediction: dict[str, Any] = {
        "image": str(config.image),
        "model": config.model.name,
        "data": config.data.name,
        "explainer": config.explainer.name,
        **_predicted(score, target, classes, is_regression(network)),
        "environment": store.environment(),
    }
    if evidence is not None:
        prediction["evidence"] = {
            f"explanation_{_word(network)}": evidence.explanation_score.item(),
            f"complement_{_word(network)}": evidence.complement_score.item(),
            "mask_share": evidence.mask.mean().item(),
        }
    parts = explainer.decoupled(*asked) if hasattr(explainer, "decoupled") else None
    if parts is not None:
        prediction["features"] = [
            {"feature": str(explainer.relevance.features[place]), "share": share}
            for place, share in zip(parts.features[0].tolist(), parts.shares[0].tolist(), strict=True)
            if place >= 0
        ]
    stated = _stated(explainer, image, target, config) if hasattr(explainer, "contributions") else None
    if stated is not None:
        order = stated.contributions.abs().argsort(descending=True).tolist()
        prediction["contributions"] = {stated.names[k]: stated.contributions[k].item() for k in order}
    name = f"{Path(config.image).stem}_{config.model.name}_{config.explainer.name}_class{target}"
    folder = Path(config.paths.results) / "explain" / name
    _write(folder, image, heatmap, prediction)
    if evidence is not None:
        for shown in ("explanation", "complement", "mask"):
            _save(getattr(evidence, shown)[0], folder / f"{shown}.png")
    if parts is not None:
        named = {place: str(feature) for place, feature in enumerate(explainer.relevance.features)}
        kept = {"images": (image[None] * 255).round().byte(), "heatmaps": heatmap[None], **parts._asdict()}
        figure = decoupled_figure(kept, named)
        figure.savefig(folder / "features.png", metadata={"Software": None})
    if stated is not None:
        explanations_figure([stated]).savefig(folder / "explanation.png", metadata={"Software": None})
    told = f"{score[target]:.2f}" if is_regression(network) else f"{100 * score[target]:.1f} %"
    log.info("%s: %s (%s) -> %s", config.image, classes[target], told, folder)


def _word(network: nn.Module) -> str:
    """What the numbers are that the network's evidence is judged by."""
    return "score" if is_regression(network) else "probability"


def _predicted(score: Tensor, target: int, classes: Sequence[str], regression: bool) -> dict[str, Any]:
    if regression:
        scores = dict(zip(classes, score.tolist(), strict=True))
        return {"target": {"index": target, "class": classes[target], "score": score[target].item()}, "scores": scores}
    best = zip(*(top.tolist() for top in score.topk(min(5, len(classes)))), strict=True)
    return {
        "target": {"index": target, "class": classes[target], "probability": score[target].item()},
        "best": [{"index": index, "class": classes[index], "probability": value} for value, index in best],
    }


def _stated(explainer: Any, image: Tensor, target: int, config: DictConfig) -> SceneExplanation:
    """What an explainer says of the picture's attributes."""
    asked = image[None], torch.tensor([target])
    return SceneExplanation(
        (image * 255).round().byte(),
        Path(config.image).name,
        {config.explainer.name: explainer.places(*asked)[0, 0]},
        explainer.attribute_maps(image[None])[0],
        explainer.contributions(*asked)[0],
        load_data(config).attribute_names,
    )


def read_picture(path: Path, size: int, stretched: int | None = None) -> Tensor:
    """The picture as RGB in [0, 1], its centred square resized to (3, size, size).

    Or all of it `stretched` to a square of so many pixels first, of which the centre is taken, as `Stretch` does.

    Grey, palette, CMYK and 16-bit pictures are converted, transparent ones laid on white, turned ones set upright;
    of an animation the first frame counts. Raises `UserError` for what is missing, damaged or too large.
    """
    if not path.is_file():
        raise UserError(f"image={path} is not a file; give the path of a picture")
    try:
        with warnings.catch_warnings():
            # Pillow's limit on pixels, beyond which decoding takes gigabytes, is ours.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(path)
        with picture:
            upright = _as_rgb(ImageOps.exif_transpose(picture))
            if stretched is not None:
                return Stretch(stretched, size).image(upright).float() / 255
            square = ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(f"image={path} cannot be read ({error}); give a whole picture of ordinary size") from error
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode in "IF":
        values = np.asarray(picture, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it has pixels that are no number")
        # Whole numbers are of sixteen bits; floating-point pictures go to 1, or to 255 where they exceed it.
        white = 65535 if picture.mode != "F" else 1 if values.max() <= 1 else 255
        picture = Image.fromarray((values / white * 255).clip(0, 255).round().astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _write(folder: Path, image: Tensor, heatmap: Tensor, prediction: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prediction.json").write_text(json.dumps(prediction, indent=1) + "\n")
    pixels = (image * 255).round().byte()
    span = (heatmap.max() - heatmap.min()).clamp(min=torch.finfo(heatmap.dtype).tiny)
    grey = ((heatmap - heatmap.min()) / span * 255).round().byte()
    Image.fromarray(grey.numpy()).save(folder / "heatmap.png")
    figure = Figure(figsize=(6, 3), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_image(left, pixels)
    draw_heatmap(right, pixels, heatmap, None)
    left.set_title(prediction["target"]["class"], fontsize=9)
    right.set_title(prediction["explainer"], fontsize=9)
    figure.savefig(folder / "overlay.png", metadata={"Software": None})


def _save(image: Tensor, path: Path) -> None:
    """Write an image (3, H, W) in [0, 1]."""
    Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()).save(path)
