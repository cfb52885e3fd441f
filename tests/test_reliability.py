"""Sweeps that are killed, on full and read-only disks, and with flipped bytes: the same table, or one clear line.

They take minutes, so they run with `pytest -m kill` only. `python tests/reliability.py` writes their figures to
`results/reliability/README.md`.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from entry_point import Started, axes, made_once, run, written

pytestmark = pytest.mark.kill

KILLS = 25  # alone, and as many of one of two sweeps
[FEW] = axes(explainer="random,oracle,gradient,vebi")
QUIET = ("scale=smoke", "logger=none", "metric=[average_precision,perturbation_blur]")
TABLES = ("table.csv", "table.md", "significance.csv.gz", "curves.csv.gz")
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run an undisturbed sweep that trains a network and learns relevance; return its store."""

    def finish(store: Path) -> None:
        ended = run(FEW, *QUIET, store=store)
        assert ended.returncode == 0, ended.stderr

    return made_once(tmp_path_factory, "undisturbed", finish)


def assert_same_tables(results: Path, finished: Path) -> None:
    for name in TABLES:
        found, expected = results / "an8flower" / name, finished / "results" / "an8flower" / name
        assert found.read_bytes() == expected.read_bytes(), name


def assert_one_line(ended: subprocess.CompletedProcess[str]) -> None:
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr, ended.stderr


@pytest.mark.parametrize("sweeps", [1, 2], ids=["alone", "two"])
def test_killed_sweeps_continue_to_the_same_bytes(
    sweeps: int, finished: Path, tmp_path: Path, record_property: Record
) -> None:
    draws, kills, whole, longest = random.Random(sweeps), 0, 0, 12.0
    stores = 0
    while kills < KILLS:
        stores += 1
        store = tmp_path / f"store{stores}"
        complete = False
        while not complete:
            made, began = written(store), time.monotonic()
            running = [Started(FEW, *QUIET, store=store, results=store / f"results{place}") for place in range(sweeps)]
            if kills < KILLS:
                victim, moment = draws.choice(running), draws.uniform(0, longest)
                victim.process.join(moment)
                if victim.process.is_alive():
                    victim.process.kill()
                    kills += 1
            ended = [sweep.ended() for sweep in running]
            for place, process in enumerate(ended):
                if process.returncode == -signal.SIGKILL:
                    continue
                assert process.returncode == 0, process.stderr
                assert_same_tables(store / f"results{place}", finished)
                whole += 1
            complete = all(process.returncode == 0 for process in ended)
            if complete and sweeps == 1:
                longest = max(3.0, min(longest, time.monotonic() - began))
            assert made.items() <= written(store).items(), "a finished artefact was made again"
        assert not list(store.glob("*/.*.making"))
        shutil.rmtree(store)
    record_property("kills", kills)
    record_property("sweeps with the same bytes after it", whole)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a small disk, or changes its options; it needs the rights of an administrator."""
    place = tmp_path / "disk"
    place.mkdir()

    def mounted(options: str) -> Path:
        kind = [f"remount,{options}"] if os.path.ismount(place) else [options, "-t", "tmpfs"]
        done = subprocess.run(["mount", "-o", *kind, "tmpfs", place], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")
        return place

    yield mounted
    if os.path.ismount(place):
        subprocess.run(["umount", "--lazy", place], check=True)


def test_full_disk_is_one_line_and_the_same_command_goes_on(
    finished: Path, disk: Callable[[str], Path], record_property: Record
) -> None:
    sizes = [f"size={kilobytes}k" for kilobytes in (64, 400, 700, 900, 1200, 1600)]
    full = 0
    for size in sizes:
        place = disk(size)
        ended = run(FEW, *QUIET, store=place)
        if ended.returncode:
            assert_one_line(ended)
            assert "no space is left" in ended.stderr, ended.stderr
            full += 1
    assert full >= 3, "the disks were too large to be full"
    ended = run(FEW, *QUIET, store=disk("size=100m"))
    assert ended.returncode == 0, ended.stderr
    assert_same_tables(place / "results", finished)
    record_property("full disks", full)


def test_read_only_store_is_one_line(finished: Path, disk: Callable[[str], Path], record_property: Record) -> None:
    place = disk("size=100m")
    disk("ro")
    assert_one_line(run(FEW, *QUIET, store=place))
    disk("rw")
    shutil.copytree(finished, place, dirs_exist_ok=True)
    disk("ro")
    # What is finished can still be read; the table goes elsewhere.
    elsewhere = finished.parent / "elsewhere"
    ended = run(FEW, *QUIET, store=place, results=elsewhere)
    if ended.returncode:
        assert_one_line(ended)
    else:
        assert_same_tables(elsewhere, finished)
    record_property("read-only stores", 2)


def test_flipped_byte_of_every_kind_of_artefact_is_noticed(
    finished: Path, tmp_path: Path, record_property: Record
) -> None:
    draws, named, unharmed = random.Random(0), 0, 0
    kinds = sorted(path.parent.parent.name for path in finished.glob("*/[!.]*/DONE"))
    assert {"cells", "data", "models", "relevance"} <= set(kinds)
    for kind in sorted(set(kinds)):
        names = {file.name for file in finished.glob(f"{kind}/[!.]*/*")}
        for name in sorted(names):
            store = tmp_path / f"{kind}_{name}"
            shutil.copytree(finished, store)
            file = min(store.glob(f"{kind}/[!.]*/{name}"))
            content = bytearray(file.read_bytes())
            content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
            file.write_bytes(content)
            # Artefacts of earlier stages are read only where a cell is computed.
            extra = ("recompute=true",) if kind != "cells" else ()
            ended = run(FEW, *QUIET, *extra, store=store)
            if ended.returncode:
                assert_one_line(ended)
                assert str(file.parent) in ended.stderr, ended.stderr
                named += 1
            else:
                assert_same_tables(store / "results", finished)
                unharmed += 1
            shutil.rmtree(store)
    assert named
    record_property("flipped bytes, named in one line", named)
    record_property("flipped bytes, same table", unharmed)
