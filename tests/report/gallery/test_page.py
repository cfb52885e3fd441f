"""The page of an experiment."""

from evident.report.gallery.page import gallery

TABLE = "# t\n\n| explainer | x ↑ |\n| --- | ---: |\n| **gr<ad** | *0.1* |\n\ntext"


def test_page_has_the_table_and_escapes_names() -> None:
    html = gallery("a<b", TABLE, {}, {"table": "table.csv"})
    assert "<h1>t</h1>" in html
    assert "<td><b>gr&lt;ad</b></td><td><i>0.1</i></td>" in html
    assert "a&lt;b" in html
    assert "<figure>" not in html
    assert "Pages:" not in html


def test_page_shows_every_figure_from_its_file() -> None:
    figures, tables = {"examples": "examples.webp", "curves_b": "curves_a.png"}, {"my_table": "my_table.csv.gz"}
    html = gallery("flowers", TABLE, figures, tables)
    assert '<a href="my_table.csv.gz">my table</a>' in html
    assert '<img src="figures/examples.webp" alt="examples"' in html
    assert '<img src="figures/curves_a.png" alt="curves_b"' in html
    assert "<figcaption>curves b</figcaption>" in html
