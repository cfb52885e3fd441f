"""`task=explain`: the explanation of one picture that the user provides."""

import itertools
import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from evident import store
from evident.cell import fit_explainer, recorders_of, save_network
from evident.cell_folder import CellFolder
from evident.contracts import NeedsMask, Regressor, StatesContributions
from evident.data.class_names import index_of
from evident.data.files import Crop, Frame, Square, Stretch
from evident.data.images import ImageSet
from evident.data.loading import base_config, load_data
from evident.data.pictures import read_picture
from evident.errors import UserError, writing
from evident.explainers.shared.targets import probability
from evident.models.repeatable import warn_of_other_scores
from evident.models.training import Trained, ready
from evident.recorders.contract import Setup
from evident.recorders.explain import explain_batch
from evident.report.build import sections_of
from evident.report.experiment import Cell
from evident.request import Request, search_path
from evident.threads import use_threads

log = logging.getLogger("evident")


def explain_image(config: DictConfig) -> None:
    """Write heatmap, overlay and prediction of `config.image` to results/explain/.

    The recorders of a cell keep their products, except scores. The sections of the report add values to
    prediction.json and draw figures: single features, the evidence as an image, contributions of attributes. For
    networks that predict scores, the first score is explained. Raises `UserError` for a picture that cannot be read, an
    unknown class, or an explainer that needs a mask.
    """
    request = Request(_with_data_of_model(config))
    config = request.config
    use_threads(config.threads)
    image = _picture(config)  # before a network is trained
    network = ready(request.network)
    setup = _setup(request, network, image)
    if isinstance(setup.explainer, NeedsMask):
        raise UserError(f"explainer={config.explainer.name} needs a mask of the true evidence, which no picture has")
    fit_explainer(request, setup)
    with torch.no_grad():
        batch = setup.images.__getitems__([0])
        outputs = probability(network.network, network.network(batch["image"]))[0]
        target = _target(config, network, outputs)
        warn_of_other_scores(network.network, batch["image"])
        explained = explain_batch(
            setup.explainer, network.network, batch, torch.tensor([target]), passes=request.explained_in
        )
        recorders = recorders_of(request, setup, of_a_picture=True)
        for recorder in recorders:
            recorder.record(explained)
    path = str(Path(config.image).resolve())
    prediction: dict[str, Any] = {"image": path, **_names(request), **_predicted(network, outputs, target)}
    name = f"{Path(path).stem}_{config.model.name}_{config.explainer.name}_class{target}"
    folder = _free_folder(Path(config.paths.results) / "explain", name, path)
    files: set[str] = set()
    with TemporaryDirectory() as scratch:
        kept = CellFolder(Path(scratch))
        save_network(network, _splits(request, setup), kept)
        for recorder in recorders:
            recorder.save(kept)
        cell = Cell(config, kept)
        for section in sections_of([cell]):
            part = section.picture(cell)
            if twice := part.values.keys() & prediction.keys() | files & {*part.figures, *part.images}:
                raise RuntimeError(f"two sections write {', '.join(sorted(twice))} of one picture")
            prediction |= part.values
            files |= {*part.figures, *part.images}
            for name, figure in part.figures.items():
                figure.savefig(folder / f"{name}.png", metadata={"Software": None})
            for name, shown in part.images.items():
                _save(shown, folder / f"{name}.png")
    prediction["environment"] = store.environment()
    (folder / "prediction.json").write_text(json.dumps(prediction, indent=1) + "\n")
    score = outputs[target]
    value = f"{score:.2f}" if isinstance(network.network, Regressor) else f"{100 * score:.1f} %"
    log.info("%s: %s (%s) -> %s", config.image, network.classes[target], value, folder)


def _free_folder(parent: Path, name: str, image: str) -> Path:
    """Make the folder `name` for the picture, or `name_2` and so on where a picture of another folder has it."""
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}_{number}")
        known = folder / "prediction.json"
        if not known.is_file() or json.loads(known.read_text()).get("image") == image:
            break
    with writing(parent, "paths.results"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _with_data_of_model(config: DictConfig) -> DictConfig:
    """Return the config with the data set that the model names, unless the command names one."""
    overrides = list(HydraConfig.get().overrides.task)
    if not any(given.startswith(("data=", "experiment=")) for given in overrides):
        outside = search_path(HydraConfig.get().overrides.hydra)
        config = compose("config", [*outside, *overrides, f"data={config.model.data}"])
    return base_config(config)


def _picture(config: DictConfig) -> ImageSet:
    path = Path(config.image)
    pixels = _frame(config.data).image(read_picture(path))
    return ImageSet(pixels[None], torch.zeros(1, dtype=torch.long), [path.name])


def _frame(data: DictConfig) -> Frame:
    """Return how the data set cuts squares out of its own pictures; rendered ones are squares."""
    if (both := data.get("resize")) is not None:
        return Stretch(both, data.size)
    if (side := data.build.get("resize")) is not None:
        return Crop(side, data.size) if "classes" in data else Stretch(side, data.size)
    return Square(data.size)


def _setup(request: Request, network: Trained, image: ImageSet) -> Setup:
    config = request.config
    return Setup(
        explainer=instantiate(config.explainer.build, _partial_=True)(network.network),
        network=network,
        images=image,
        splits=partial(load_data, config),
        labels=request.labels,
        metrics={},
        examples=1,
    )


def _names(request: Request) -> dict[str, Any]:
    return {name: request.labels[name] for name in ("model", "data", "explainer")}


def _splits(request: Request, setup: Setup) -> Any:
    """Load the data set only if the explainer states contributions of attributes, whose names the data set knows."""
    return setup.splits() if isinstance(setup.explainer, StatesContributions) else None


def _target(config: DictConfig, network: Trained, outputs: Tensor) -> int:
    given, classes = config.target, network.classes
    if given is None:
        return 0 if isinstance(network.network, Regressor) else int(outputs.argmax())
    index = index_of(given, classes, Path(config.paths.data))
    if index is None:
        raise UserError(
            f"target={given} is not a class of {config.model.name}; use 0 to {len(classes) - 1}, or a name such as "
            f"{classes[0]}"
        )
    return index


def _predicted(network: Trained, outputs: Tensor, target: int) -> dict[str, Any]:
    classes: Sequence[str] = network.classes
    described = {"index": target, "class": classes[target]}
    if isinstance(network.network, Regressor):
        scores = dict(zip(classes, outputs.tolist(), strict=True))
        return {"target": {**described, "score": outputs[target].item()}, "scores": scores}
    best = zip(*(top.tolist() for top in outputs.topk(min(5, len(classes)))), strict=True)
    return {
        "target": {**described, "probability": outputs[target].item()},
        "best": [{"index": index, "class": classes[index], "probability": value} for value, index in best],
    }


def _save(image: Tensor, path: Path) -> None:
    """Write an image (3 or 1, H, W) in [0, 1] as PNG."""
    pixels = (image * 255).round().byte()
    Image.fromarray((pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)).numpy()).save(path)
