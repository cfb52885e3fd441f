"""A data set as files, for use outside Evident: pictures, masks and one table of everything else.

    DIR/SPLIT/CLASS/NAME.png        pictures; without the folder CLASS if images have no label
    DIR/masks/SPLIT/CLASS/NAME.png  where the evidence is: white; if the data set knows it
    DIR/SPLIT.csv                   one row per picture: file, label, votes, attributes, true score ...
    DIR/SPLIT_maps.safetensors      all maps with more than one channel, or with values, such as masks of attributes

`data=folder data.root=DIR` reads pictures, classes and masks back.
"""

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from evident.contracts import NamesAttributes
from evident.data.images import NO_LABEL, loader
from evident.data.loading import load_data
from evident.errors import UserError, writing

BATCH = 64


def run(config: DictConfig) -> None:
    """Write the splits of the configured data set to the folder `to` and say what was written.

    Raises `UserError` without a folder, for one that has files already, and for an unknown split.
    """
    if config.to is None:
        raise UserError("task=export writes a data set to a folder; give to=DIR")
    folder = Path(config.to)
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; give another folder, so that no file of it is lost")
    splits = load_data(config)
    names = splits.attribute_names() if isinstance(splits, NamesAttributes) else ()
    for split in config.splits:
        images = splits.split(split)
        export(images, splits.class_names(), names, folder, split)
        print(f"{len(images)} pictures of {config.data.name} in {folder / split}, and {folder / f'{split}.csv'}")


def export(images: Any, classes: Sequence[str], attributes: Sequence[str], folder: Path, split: str) -> None:
    """Write the `images` of one split below `folder`, as this module describes.

    `classes` are the names of the labels, `attributes` those of the columns of every tensor with as many columns.
    Pictures have 8 bits per channel. Of two pictures with one name, the second gets its number in front. Raises
    `UserError` if the folder cannot be written.
    """
    rows: list[dict[str, Any]] = []
    maps: dict[str, list[Tensor]] = {}
    with writing(folder, "to=DIR"):
        for batch in loader(images, BATCH):
            for place, index in enumerate(batch["index"].tolist()):
                label = int(batch["label"][place]) if "label" in batch else NO_LABEL
                name = PurePath(images.names[index]).with_suffix(".png").name
                place_of = PurePath(split, *([classes[label].replace("/", "_")] if label != NO_LABEL else []))
                file = place_of / (f"{index}_{name}" if (folder / place_of / name).exists() else name)
                row: dict[str, Any] = {"file": str(file)}
                _save(batch["image"][place], folder / file)
                for key, values in batch.items():
                    value = torch.as_tensor(values[place])
                    if key == "label" and label != NO_LABEL:
                        row |= {"label": label, "class": classes[label]}
                    elif key == "mask":
                        _save(value[None].float(), folder / "masks" / file)
                    elif key not in ("image", "index", "label") and value.dim() >= 2:
                        maps.setdefault(key, []).append(value)
                    elif key not in ("image", "index", "label"):
                        row |= _columns(key, value, attributes)
                rows.append(row)
        pd.DataFrame(rows).to_csv(folder / f"{split}.csv", index=False, lineterminator="\n")
        if maps:
            save_file({key: torch.stack(each) for key, each in maps.items()}, folder / f"{split}_maps.safetensors")


def _columns(key: str, value: Tensor, attributes: Sequence[str]) -> dict[str, float]:
    """Return the columns of the table for a number or for a vector."""
    if value.dim() == 0:
        return {key: value.item()}
    names = attributes if len(value) == len(attributes) else range(len(value))
    return {f"{key} {name}": number for name, number in zip(names, value.tolist(), strict=True)}


def _save(image: Tensor, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = (image * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file)
