"""Figures as files: WebP, without loss for lines and text."""

import io
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from evident.errors import writing

QUALITY = 80  # of WebP with images; from 75 on down a faint pattern of single pixels is lost
EFFORT = 80  # of WebP without loss: half the size of a PNG; 100 takes twenty times as long for 7 % more
LONGEST = 16383  # pixels of a side that WebP can have
SUFFIXES = (".png", ".webp", ".pdf")


def encode(figure: Figure) -> tuple[str, bytes]:
    """Return the suffix and the content of the figure's file. The same figure has the same bytes.

    Every figure becomes WebP, which needs no palette: the dithering of a palette looks like the grid artefacts that
    heatmaps are studied for. With images (photographs, heatmaps) it stores hue at half the resolution, so a pattern of
    single pixels keeps its brightness but loses hue; lines and text lose nothing. Figures too long for WebP become PNG.
    Neither holds metadata.
    """
    drawn, content = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", pil_kwargs={"compress_level": 1})
    figure.set_layout_engine("none")  # a second layout would start from the first and differ by some pixels
    image = Image.open(drawn).convert("RGB")
    if max(image.size) > LONGEST:
        image.save(content, "PNG")
        return ".png", content.getvalue()
    if any(axes.images for axes in figure.axes):
        image.save(content, "WEBP", quality=QUALITY, method=6)
    else:
        image.save(content, "WEBP", lossless=True, quality=EFFORT, method=4)
    return ".webp", content.getvalue()


def encode_pdf(figure: Figure) -> bytes:
    """Return the figure as PDF, with lines and text as such. The same figure has the same bytes: there is no date."""
    content = io.BytesIO()
    figure.savefig(content, format="pdf", metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))
    return content.getvalue()


def write_figures(figures: dict[str, Figure], folder: Path, vector: Collection[str] = ()) -> dict[str, str]:
    """Write every figure to `folder` and return the name of its file; those named in `vector` also as PDF beside it.

    Figures of the same content share the file of the first. All other figures in the folder are removed: they show an
    earlier run. Every file is written atomically.
    """
    written: dict[bytes, str] = {}
    files: dict[str, str] = {}
    for name, figure in figures.items():
        suffix, content = encode(figure)
        if content not in written:
            written[content] = f"{name}{suffix}"
            write_whole(folder / written[content], content)
            if name in vector:
                write_whole(folder / f"{name}.pdf", encode_pdf(figure))
        files[name] = written[content]
    by_file = {file.rpartition(".")[0] for file in written.values()}
    for file in folder.iterdir():
        kept = vector if file.suffix == ".pdf" else ()
        if file.suffix in SUFFIXES and file.name not in files.values() and file.stem not in {*kept} & by_file:
            file.unlink()
    return files


def write_folder(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write files by their paths in `folder`, each atomically, and remove all others there."""
    for name, content in contents.items():
        with writing(folder, "paths.results"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, content)
    kept = {folder / name for name in contents}
    for file in [path for path in folder.rglob("*") if path.is_file() and path not in kept]:
        file.unlink()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically: under a temporary name, then renamed; raise `UserError` if the disk does not let it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.making")
    try:
        with writing(path.parent, "paths.results"):
            scratch.write_bytes(content.encode() if isinstance(content, str) else content)
            scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
