"""The classes of a network by name, and which of them a folder of pictures is."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evident.data import imagenet
from evident.data.images import NO_LABEL
from evident.data.tables import read_text
from evident.errors import UserError


def names_of(names: str) -> tuple[str, ...]:
    """Return class names in the order of a network's outputs.

    `names` is `imagenet`, or a JSON file with a list of names, with names by index, or with indices by name, or a
    config of transformers. Raises `UserError` for any other content, and unless all names differ and
    the indices are 0, 1, 2, ...
    """
    if names == "imagenet":
        return imagenet.class_names()
    file = Path(names).expanduser()
    try:
        found: Any = json.loads(read_text(file))
    except ValueError as error:
        raise UserError(f"{file} is not JSON ({error}); write a list of class names") from error
    if isinstance(found, dict) and "architectures" in found:
        found = _of_transformers(found)
    elif isinstance(found, dict):
        found = _in_order(found)
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise UserError(f"{file} must hold a list of class names, or names by index 0, 1, 2, ...")
    if len(set(found)) < len(found):
        raise UserError(f"{file} names the class {next(name for name in found if found.count(name) > 1)} twice")
    return tuple(found)


def _of_transformers(config: dict[str, Any]) -> list[str] | None:
    """Return the names in a config of transformers, which leaves out the default ones of two classes.

    Names that occur twice, as the two cranes of ImageNet, get their index.
    """
    names = _in_order(config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"}))
    return names and [name if names.count(name) == 1 else f"{name} ({index})" for index, name in enumerate(names)]


def _in_order(found: dict[str, Any]) -> list[Any] | None:
    """Return the names of {index: name} or {name: index} by index, or None unless the indices are 0, 1, 2, ..."""
    if all(isinstance(value, int) for value in found.values()):
        found = {str(index): name for name, index in found.items()}
    wanted = list(map(str, range(len(found))))
    return [found[index] for index in wanted] if set(wanted) == found.keys() else None


def label_of(folder: str | None, classes: Sequence[str], root: Path) -> int:
    """Return the class that a class folder is named after, or `NO_LABEL`.

    The folder may be the name of a class, whatever the case, with any signs between the words; its index; or, for the
    classes of ImageNet, a synset, which root/imagenet/synsets.txt lists.
    """
    if folder is None:
        return NO_LABEL
    by_words = {_words(name): index for index, name in enumerate(classes)}
    if folder in classes:
        return classes.index(folder)
    if (index := by_words.get(_words(folder))) is not None:
        return index
    if folder.isascii() and folder.isdigit() and int(folder) < len(classes):
        return int(folder)
    if tuple(classes) == imagenet.class_names() and (root / "imagenet" / "synsets.txt").is_file():
        synsets = imagenet.synsets_in(root / "imagenet")
        return synsets.index(folder) if folder in synsets else NO_LABEL
    return NO_LABEL


def index_of(given: Any, classes: Sequence[str], root: Path) -> int | None:
    """Return the class that the user means by an index or by what `label_of` understands, or None."""
    index = label_of(given, classes, root) if isinstance(given, str) else given
    is_index = isinstance(index, int) and not isinstance(index, bool)
    return index if is_index and index in range(len(classes)) else None


def _words(name: str) -> str:
    return " ".join(re.findall(r"\w+", name.casefold().replace("_", " ")))
