"""Artefacts by content: each is named by the hash of what made it, and is complete or absent."""

import functools
import hashlib
import json
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from filelock import FileLock

from evident.errors import UserError, writing
from evident.own_code import own_sources

Identity = dict[str, Any]
STORE = "EVIDENT_STORE"  # names the folder of all artefacts
EXPORTED = Path(__file__).parents[2] / "COMMIT"
PACKAGES = (
    *("evident", "torch", "torchvision", "pytorch-lightning", "captum", "numpy", "scipy", "pandas"),
    *("scikit-image", "scikit-learn", "pillow"),
)


def _with_code(identity: Identity) -> Identity:
    """Return the identity with the sources of the user's modules that it names, if there are any."""
    sources = own_sources(identity)
    return {**identity, "code": sources} if sources else identity


def digest(identity: Identity) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the identity, code of the user included."""
    text = json.dumps(_with_code(identity), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def location(root: Path, kind: str, identity: Identity) -> Path:
    """Return the folder of the artefact of `identity`, whether it exists or not."""
    return Path(root) / kind / digest(identity)


def is_whole(folder: Path) -> bool:
    """Return whether the artefact is complete; raise `UserError` if a file of it has changed since it was written."""
    done = folder / "DONE"
    if not done.exists():
        return False
    try:
        hashes = json.loads(done.read_text())
    except ValueError:
        hashes = None
    if not isinstance(hashes, dict) or "config.yaml" not in hashes:
        hashes = {"DONE": "unreadable"}
    damaged = [name for name, value in hashes.items() if _file_hash(folder / name) != value]
    if damaged:
        raise UserError(f"{folder / damaged[0]} is damaged; delete the folder {folder} and run again")
    return True


def artefact(root: Path, kind: str, identity: Identity, make: Callable[[Path], None]) -> Path:
    """Return the folder of the artefact; if it is absent, `make(temporary folder)` writes it.

    One process writes it while others wait. A process that dies leaves only a temporary folder, which nobody reads and
    which the next process deletes. Raises `UserError` if the artefact is damaged, or the disk is full.
    """
    folder = location(root, kind, identity)
    if is_whole(folder):
        return folder
    with _lock(folder):
        if is_whole(folder):
            return folder
        scratch = folder.with_name(f".{folder.name}.making")
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            with writing(root, STORE, only_full=True):
                scratch.mkdir()
                _describe(scratch, identity)
                make(scratch)
                hashes = {path.name: _file_hash(path) for path in sorted(scratch.iterdir())}
                (scratch / "DONE").write_text(json.dumps(hashes, indent=1))
                shutil.rmtree(folder, ignore_errors=True)  # only the record of an earlier failure can be here
                scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def forget(root: Path, kind: str, identity: Identity) -> None:
    """Delete the artefact, if there is one, damaged or not."""
    folder = location(root, kind, identity)
    with _lock(folder):
        shutil.rmtree(folder, ignore_errors=True)


def record_failure(
    root: Path, kind: str, identity: Identity, report: str, name: Literal["FAILED", "LEFT_OUT"] = "FAILED"
) -> Path:
    """Write why an artefact could not be made to `FAILED` or `LEFT_OUT` in its folder, and return that file.

    `report` is the error: one line for a `UserError`, else the traceback.
    """
    folder = location(root, kind, identity)
    with _lock(folder), writing(root, STORE):
        # The files of a damaged artefact are kept: the user may inspect or delete them.
        folder.mkdir(exist_ok=True)
        if not (folder / "DONE").exists():
            _describe(folder, identity)
        for other in ("FAILED", "LEFT_OUT"):
            (folder / other).unlink(missing_ok=True)
        (folder / name).write_text(report)
    return folder / name


@functools.cache
def environment() -> dict[str, Any]:
    """Return versions, device and commit under which artefacts are made."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "commit": commit(),
    }


def commit() -> str:
    """Return the commit of the project's checkout, with `+changes` if code or config differ from it.

    `git archive` writes the commit into the file COMMIT of what it exports, whose changes are not seen.
    """
    if re.fullmatch("[0-9a-f]{40}", exported := EXPORTED.read_text().strip() if EXPORTED.exists() else ""):
        return exported

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        root = git("rev-parse", "--show-toplevel")
        watched = [f"{root}/{name}" for name in ("src", "conf", "run.py", "constraints.txt")]
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", *watched) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with writing(folder.parent, STORE):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # The system releases the lock of a process that was killed.
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _describe(folder: Path, identity: Identity) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(_with_code(identity), sort_keys=False))
    (folder / "environment.json").write_text(json.dumps(environment(), indent=1))


def _file_hash(path: Path) -> str | None:
    if not path.exists():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
