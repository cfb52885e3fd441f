"""The page of an experiment."""

from evident.report.gallery.page import Shown, gallery, without_links

TABLE = "# t\n\n| explainer | x ↑ |\n| --- | ---: |\n| **gr<ad** | *0.1* |\n\ntext"


def test_page_has_the_table_and_escapes_names() -> None:
    html = gallery("a<b", TABLE, {}, {"table": "table.csv"})
    assert "<h1>t</h1>" in html
    assert "<td><b>gr&lt;ad</b></td><td><i>0.1</i></td>" in html
    assert "a&lt;b" in html
    assert "<figure>" not in html
    assert "Pages:" not in html


def test_networks_stand_below_the_name_of_the_experiment() -> None:
    table = "# flowers (quick): net on a: 90%; net on b: 80%\n\n## a: b\n\nIn `a_b.csv` only."
    html = gallery("flowers", table, {}, {})
    assert '<h1>flowers (quick)</h1><p class="quiet">net on a: 90%; net on b: 80%</p>' in html
    assert "<h2>a: b</h2>" in html
    assert "<p>In <code>a_b.csv</code> only.</p>" in html


def test_page_has_colours_for_dark_mode_and_no_fixed_ones_for_text() -> None:
    html = gallery("flowers", TABLE, {}, {})
    assert "color-scheme: light dark" in html
    assert "initial-scale=1" in html
    style = html.partition("</style>")[0].partition("body {")[2]
    assert [line for line in style.splitlines() if " color: #" in line] == []


def test_page_shows_every_figure_from_its_file() -> None:
    figures = {
        "examples": Shown("examples.webp", "4 images."),
        "curves_b": Shown("curves_a.png", "a < b.", vector=True),
    }
    tables = {"my_table": "my_table.csv.gz"}
    html = gallery("flowers", TABLE, figures, tables)
    assert '<a href="my_table.csv.gz">my table</a>' in html
    assert '<img src="figures/examples.webp" alt="examples"' in html
    assert '<img src="figures/curves_a.png" alt="curves b"' in html
    assert "<figcaption><b>examples.</b> 4 images.</figcaption>" in html
    pdf = '<a href="figures/curves_a.pdf">PDF</a>'
    assert f"<figcaption><b>curves b.</b> a &lt; b. {pdf}</figcaption>" in html


def test_links_of_the_table_are_links_of_the_page_and_words_on_a_terminal() -> None:
    table = "| explainer | [a b](../docs/glossary.md#a_b) ↑ |\n| --- | ---: |\n| x | 0.1 [0, 1] |"
    assert '<th><a href="../docs/glossary.md#a_b">a b</a> ↑</th>' in gallery("e", table, {}, {})
    assert without_links(table) == "| explainer | a b ↑ |\n| --- | ---: |\n| x | 0.1 [0, 1] |"
