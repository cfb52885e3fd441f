"""Paths on the command line as they are: Hydra's grammar would refuse `image=IMG(1).jpg`, and never expands `~`."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import OverrideParseException

# Settings whose values are paths.
PATHS = (
    *("image", "images", "train_images", "against", "data.root", "model.weights", "model.names"),
    *("paths.data", "paths.store", "paths.results"),
)


def quoted(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with paths quoted for Hydra, and `~` expanded.

    A value is quoted if it names a file or folder, or if Hydra could not read it otherwise; so a list of values, such
    as `model.weights=a.pth,b.pth`, stays a sweep.
    """
    return [_quoted(argument) for argument in arguments]


def _quoted(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key.lstrip("+") not in PATHS or value[:1] in ("'", '"'):
        return argument
    path = str(Path(value).expanduser()) if value.startswith("~") else value
    if not _exists(path) and path == value and _readable(argument):
        return argument
    return f"{key}={QuotedString(path.replace('${', chr(92) + '${'), Quote.single).with_quotes()}"


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except (OSError, ValueError):  # a name that is too long, or holds a null byte
        return False


def _readable(argument: str) -> bool:
    try:
        OverridesParser.create().parse_overrides([argument])
    except OverrideParseException:
        return False
    return True
