"""How the user hears of bad input: the error that ends a task, and a warning."""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Every cell of a sweep loads the data set, so a warning about it would come again and again.
warn_once = functools.cache(logging.getLogger("evident").warning)


class UserError(Exception):
    """Report bad input in one line: what was given, where, and what is allowed."""


class NotApplicable(UserError):
    """Report in one line that a method does not apply to a network or a data set, and what does."""


@contextmanager
def writing(place: Path | str, setting: str, only_full: bool = False) -> Iterator[None]:
    """Turn an error of the disk in the body into a `UserError` that names the place and the setting that moves it.

    With `only_full`, for a body that does more than writing, only that of a full disk. Libraries that write files on
    their own report it by exceptions of their own, with its text.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # safetensors and others report a full disk by exceptions of their own
        if not _is_full(error) and (only_full or not isinstance(error, OSError)):
            raise
        raise UserError(unwritable(place, setting, error)) from error


def unwritable(place: Path | str, setting: str, error: Exception) -> str:
    """Return one line that says why nothing can be written to a place, and which setting moves it."""
    reason = "no space is left" if _is_full(error) else " ".join(str(error).split())
    return (
        f"cannot write to {place}: {reason}; free some space or set {setting} to a writable folder, and the same "
        "command goes on"
    )


def _is_full(error: Exception) -> bool:
    return "No space left" in str(error) or "quota exceeded" in str(error)
