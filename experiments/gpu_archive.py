"""Pack the cells of a store, and a folder of results, into archives of limited size: `experiments/gpu.sh run` calls it.

    python experiments/gpu_archive.py STORE RESULTS OUT     writes OUT/cells_00.zip ... and OUT/results_00.zip ...

The pictures of a cell (example heatmaps, evidence, feature maps) are nine tenths of it and stay behind; its list of
files (`DONE`) leaves them out too. So the unpacked cells are whole: sweeps go on from them, and reports have their
scores, without the figures of examples. Unpack with `python -m zipfile -e cells_00.zip STORE`.
"""

import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evident.cell_folder import EVIDENCE, EXAMPLES, FEATURE_MAPS

PICTURES = tuple(product.file for product in (EXAMPLES, EVIDENCE, FEATURE_MAPS))
LIMIT = 15 * 2**20  # bytes of an archive
Part = Mapping[str, bytes]  # what belongs together: the content of files, by their place in the archive


def cells(store: Path) -> Iterator[Part]:
    """Yield the files of every artefact of a store that is complete, or that has failed or was left out."""
    for kind in ("cells", "models"):
        for folder in sorted((store / kind).glob("[!.]*")):
            if not any((folder / name).exists() for name in ("DONE", "FAILED", "LEFT_OUT")):
                continue
            files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name not in PICTURES}
            if "DONE" in files:
                hashes = {name: value for name, value in json.loads(files["DONE"]).items() if name not in PICTURES}
                del files["DONE"]  # unpacked last: a cell that is unpacked in part is not taken for a whole one
                files["DONE"] = json.dumps(hashes, indent=1).encode()
            yield {f"{kind}/{folder.name}/{name}": content for name, content in files.items()}


def files_of(folder: Path) -> Iterator[Part]:
    """Yield every file below a folder as a part of its own."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield {path.relative_to(folder).as_posix(): path.read_bytes()}


def pack(parts: Iterator[Part], out: Path, name: str, limit: int = LIMIT) -> Sequence[Path]:
    """Write the parts to out/NAME_00.zip, NAME_01.zip and so on, none above `limit` bytes; return these files.

    A part that is larger on its own is left out, with a line that says so.
    """
    written: list[Path] = []
    size = limit
    for part in parts:
        # Compressed files are hardly larger than plain ones, and a name takes a few hundred bytes.
        needed = sum(len(content) + 2 * len(place) + 300 for place, content in part.items())
        if needed > limit:
            print(f"{next(iter(part))} and what belongs to it take {needed} bytes, above {limit}: left out")
            continue
        if size + needed > limit:
            written.append(out / f"{name}_{len(written):02}.zip")
            written[-1].unlink(missing_ok=True)
        with zipfile.ZipFile(written[-1], "a", zipfile.ZIP_DEFLATED) as archive:
            for place, content in part.items():
                archive.writestr(place, content)
        size = written[-1].stat().st_size
    return written


if __name__ == "__main__":
    store, results, out = map(Path, sys.argv[1:])
    for archive in (*pack(cells(store), out, "cells"), *pack(files_of(results), out, "results")):
        print(f"{archive.name}: {archive.stat().st_size / 2**20:.1f} MiB")
