"""The gallery as files: a page without a server, a script with its data, and tiles.

index.html     the page, the same for every experiment: it shows what the manifest holds
manifest.js    the manifest, as one global
tiles/*.webp   pictures and heatmaps
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader

from evident.report.gallery.packing import script

GLOBAL = "EVIDENT_GALLERY"
# In the order in which they run: classic scripts, because a browser loads no modules from the disk.
SCRIPTS = ("reading.js", "statistics.js", "state.js", "tiles.js", "grid.js", "detail.js", "controls.js")


def viewer(manifest: dict[str, Any], tiles: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of the gallery by their paths."""
    package = files("evident.report.gallery") / "viewer"
    environment = Environment(loader=PackageLoader("evident.report.gallery", "viewer"), autoescape=True)
    scripts = [(package / name).read_text() for name in SCRIPTS]
    page = environment.get_template("viewer.html").render(scripts=scripts, style=(package / "viewer.css").read_text())
    pictures = {f"tiles/{name}": content for name, content in tiles.items()}
    return {"index.html": page.encode(), "manifest.js": script(GLOBAL, manifest).encode(), **pictures}
