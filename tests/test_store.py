"""Artefacts of the store: complete or absent, named by their identity, and written by one process."""

import errno
import json
import multiprocessing
import time
from pathlib import Path

import pytest
import torch
from entry_point import ROOT

from evident import store
from evident.errors import UserError

IDENTITY = {"data": "digits", "seed": 0}


def write_text(folder: Path) -> None:
    (folder / "value.txt").write_text("42")


def test_artefact_is_made_once_and_described(tmp_path: Path) -> None:
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        write_text(folder)

    first = store.artefact(tmp_path, "cells", IDENTITY, make)
    second = store.artefact(tmp_path, "cells", dict(reversed(IDENTITY.items())), make)
    assert first == second == tmp_path / "cells" / store.digest(IDENTITY)
    assert len(calls) == 1
    assert {path.name for path in first.iterdir()} == {"value.txt", "config.yaml", "environment.json", "DONE"}
    assert json.loads((first / "environment.json").read_text())["packages"]["torch"] == torch.__version__.split("+")[0]


def test_exported_code_names_its_commit_and_a_checkout_asks_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = tmp_path / "COMMIT"
    monkeypatch.setattr(store, "EXPORTED", exported)
    of_checkout = store.commit()
    exported.write_text(f"{'0a' * 20}\n")
    assert store.commit() == "0a" * 20
    exported.write_text("$Format:%H$\n")
    assert store.commit() == of_checkout


def test_archives_of_git_name_their_commit() -> None:
    assert "COMMIT export-subst" in (ROOT / ".gitattributes").read_text().splitlines()
    assert (ROOT / "COMMIT").read_text() == "$Format:%H$\n" or store.commit() == (ROOT / "COMMIT").read_text().strip()
    assert store.EXPORTED == ROOT / "COMMIT"


def test_different_identities_have_different_folders(tmp_path: Path) -> None:
    folders = {store.artefact(tmp_path, "cells", {**IDENTITY, "seed": seed}, write_text) for seed in (0, 1, "0", 1.5)}
    assert len(folders) == 4


def test_failed_make_leaves_no_folder(tmp_path: Path) -> None:
    def fail_half_way(folder: Path) -> None:
        write_text(folder)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        store.artefact(tmp_path, "cells", IDENTITY, fail_half_way)
    assert [path for path in (tmp_path / "cells").iterdir() if path.is_dir()] == []


def test_files_of_a_killed_process_are_deleted(tmp_path: Path) -> None:
    scratch = tmp_path / "cells" / f".{store.digest(IDENTITY)}.making"
    scratch.mkdir(parents=True)
    (scratch / "half.bin").write_text("half")
    folder = store.artefact(tmp_path, "cells", IDENTITY, write_text)
    assert not (folder / "half.bin").exists()
    assert not scratch.exists()


@pytest.mark.parametrize("damage", ["truncate", "delete", "garble DONE", "empty DONE"])
def test_damaged_artefact_is_refused(tmp_path: Path, damage: str) -> None:
    folder = store.artefact(tmp_path, "cells", IDENTITY, write_text)
    file = folder / ("DONE" if damage.endswith("DONE") else "value.txt")
    if damage == "delete":
        file.unlink()
    else:
        file.write_text("{}" if damage == "empty DONE" else "{")
    with pytest.raises(UserError, match=f"{file} is damaged; delete the folder {folder} and run again"):
        store.artefact(tmp_path, "cells", IDENTITY, write_text)


def test_failure_is_kept_until_the_artefact_is_made(tmp_path: Path) -> None:
    failed = store.record_failure(tmp_path, "cells", IDENTITY, "Traceback ...")
    assert failed == store.location(tmp_path, "cells", IDENTITY) / "FAILED"
    assert failed.read_text() == "Traceback ..."
    assert not store.is_whole(failed.parent)
    folder = store.artefact(tmp_path, "cells", IDENTITY, write_text)
    assert folder == failed.parent
    assert not failed.exists()


def slow_make(folder: Path) -> None:
    with open(folder.parent / "made.txt", "a") as log:
        log.write("made\n")
    time.sleep(0.5)
    write_text(folder)


def make_in_process(root: Path) -> None:
    store.artefact(root, "models", IDENTITY, slow_make)


def test_of_two_processes_one_makes_the_artefact_and_the_other_waits(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=make_in_process, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "models" / "made.txt").read_text() == "made\n"


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cells").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write to .*cells.*EVIDENT_STORE"):
        store.artefact(tmp_path, "cells", IDENTITY, write_text)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("No space left (28)")]
)
def test_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path: Path, error: Exception) -> None:
    def fill(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise error

    with pytest.raises(UserError, match=r"cannot write to .*: no space is left; free some space or set EVIDENT_STORE"):
        store.artefact(tmp_path, "cells", IDENTITY, fill)
    assert not list(tmp_path.rglob("half.txt"))
    assert (store.artefact(tmp_path, "cells", IDENTITY, write_text) / "DONE").is_file()


def test_other_errors_of_what_is_made_are_kept(tmp_path: Path) -> None:
    def read(folder: Path) -> None:
        (tmp_path / "missing.txt").read_text()

    with pytest.raises(FileNotFoundError):
        store.artefact(tmp_path, "cells", IDENTITY, read)


def test_lock_that_cannot_be_acquired_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(store.FileLock, "acquire", refuse)
    with pytest.raises(UserError, match=r"cannot write to .*cells: read-only; .* set EVIDENT_STORE"):
        store.artefact(tmp_path, "cells", IDENTITY, write_text)
