"""The page of an experiment: its table and its figures, for a browser."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

LINK = r"\[([^\]]+)\]\(([^)\s]+)\)"  # [words](address)


class Shown(NamedTuple):
    """Hold the file of a figure in `figures/`, its caption, and whether there is a PDF of it beside it."""

    file: str
    caption: str = ""
    vector: bool = False


def gallery(
    experiment: str,
    table: str,
    figures: Mapping[str, Shown],
    tables: Mapping[str, str],
    pages: Sequence[str] = (),
) -> str:
    """Return the HTML page of an experiment.

    It shows the Markdown `table` and the `figures` by name, and links the `tables`, file names by name, and the
    `pages`, which are folders.
    """
    environment = Environment(loader=PackageLoader("evident.report.gallery", ""), autoescape=True)
    template = environment.get_template("gallery.html")
    return template.render(
        experiment=experiment,
        blocks=[_block(block) for block in table.split("\n\n")],
        figures=figures,
        tables=tables,
        pages=pages,
    )


def _block(text: str) -> Markup:
    """Convert one block of our Markdown to HTML: a heading, a table or a paragraph, with emphasis, code and links.

    The first heading names the experiment; the networks after its colon become a paragraph.
    """
    text = text.strip()
    if text.startswith("#"):
        level, _, heading = text.partition(" ")
        name, _, networks = heading.partition(": ") if level == "#" else (heading, "", "")
        below = Markup('<p class="quiet">{}</p>').format(networks) if networks else ""
        return Markup("<h{0}>{1}</h{0}>{2}").format(len(level), name, below)
    if text.startswith("|"):
        header, _, *rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()]
        head = Markup("").join(Markup("<th>{}</th>").format(_inline(cell)) for cell in header)
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(_inline(c)) for c in row))
            for row in rows
        )
        return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, body)
    return Markup("<p>{}</p>").format(_inline(text))


def _inline(text: str) -> Markup:
    bold = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", str(escape(text)))
    italic = re.sub(r"\*(.+?)\*", r"<i>\1</i>", bold)
    italic = re.sub(r"`([^`]+)`", r"<code>\1</code>", italic)
    return Markup(re.sub(LINK, r'<a href="\2">\1</a>', italic))


def without_links(text: str) -> str:
    """Return Markdown with the words of its links in their place."""
    return re.sub(LINK, r"\1", text)
