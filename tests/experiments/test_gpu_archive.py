"""Archives of cells and results: of limited size, and cells that are whole without their pictures."""

import random
import runpy
import zipfile
from pathlib import Path
from typing import Any

import pytest
from entry_point import ROOT

from evident import store
from evident.cli import composed
from evident.request import Request

SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "experiments" / "gpu_archive.py"))


def make_cell(folder: Path) -> None:
    (folder / "scores.parquet").write_bytes(bytes(range(256)) * 8)
    (folder / "examples.safetensors").write_bytes(b"x" * 10_000)


def cell(root: Path, seed: int) -> Path:
    return store.artefact(root, "cells", {"seed": seed}, make_cell)


def test_unpacked_cells_are_whole_without_their_pictures(tmp_path: Path) -> None:
    names = [cell(tmp_path / "store", seed).name for seed in range(3)]
    (tmp_path / "store" / "cells" / ".scratch.making").mkdir()
    [archive] = SCRIPT["pack"](SCRIPT["cells"](tmp_path / "store"), tmp_path, "cells")
    zipfile.ZipFile(archive).extractall(tmp_path / "other")
    unpacked = sorted((tmp_path / "other" / "cells").iterdir())
    assert [path.name for path in unpacked] == sorted(names)
    assert all(store.is_whole(path) for path in unpacked)
    assert not [*(tmp_path / "other").rglob("examples.safetensors")]
    made: list[Path] = []
    store.artefact(tmp_path / "other", "cells", {"seed": 1}, made.append)
    assert made == []


def test_a_cell_is_marked_as_whole_after_its_other_files(tmp_path: Path) -> None:
    cell(tmp_path / "store", 0)
    [archive] = SCRIPT["pack"](SCRIPT["cells"](tmp_path / "store"), tmp_path, "cells")
    places = zipfile.ZipFile(archive).namelist()
    assert len(places) > 1
    assert places[-1].endswith("/DONE")


def test_record_of_a_cell_that_was_left_out_is_kept(tmp_path: Path) -> None:
    store.record_failure(tmp_path / "store", "cells", {"seed": 0}, "does not apply", "LEFT_OUT")
    [part] = SCRIPT["cells"](tmp_path / "store")
    assert [content for place, content in part.items() if place.endswith("/LEFT_OUT")] == [b"does not apply"]


def test_no_archive_is_above_the_limit_and_none_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [{f"{n}/data": random.Random(n).randbytes(1000)} for n in range(9)] + [{"large": b"x" * 9000}]
    archives = SCRIPT["pack"](iter(parts), tmp_path, "cells", limit=4000)
    assert len(archives) > 1
    assert all(archive.stat().st_size <= 4000 for archive in archives)
    kept = [name for archive in archives for name in zipfile.ZipFile(archive).namelist()]
    assert sorted(kept) == sorted(place for part in parts[:9] for place in part)
    assert "large and what belongs to it take" in capsys.readouterr().out


def test_older_archives_are_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        [archive] = SCRIPT["pack"](iter([{"a": b"1"}]), tmp_path, "results")
    assert zipfile.ZipFile(archive).namelist() == ["a"]


def test_sweeps_of_the_script_have_all_blocks_of_photographs() -> None:
    chosen = ("experiment=imagenet", "scale=day", "model=resnet50", "seed=7", "explainer=gradient", "paths.data=none")
    assert not Request(composed(*chosen)).applies
    assert Request(composed(*chosen, "seeds_by_model={}")).applies
