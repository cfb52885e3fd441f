"""The front page of results/: all claims in one list, ranks, costs, and a card for each experiment.

`README.md` is for a code host, `index.html` its twin for a browser. Both are made of the committed tables alone, so
they are the same on every machine. `overview/teaser.webp`, the picture of the README, is drawn from a gallery.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from omegaconf import DictConfig, OmegaConf

from evident.report.claims.verdicts import Claim
from evident.report.figures.files import write_figures, write_whole
from evident.report.overview.cards import cards
from evident.report.overview.cost import cost_figure, quality
from evident.report.overview.papers import Paper, papers
from evident.report.overview.ranks import ranks, ranks_figure
from evident.report.overview.teaser import teaser

ROOT = Path(__file__).parents[4]
BEGIN, END = "<!-- scoreboard -->\n", "<!-- end of scoreboard -->"
OPEN = ("undecided", "underpowered")
SPEED = "python run.py task=benchmark"  # makes results/speed, which is no experiment and has no page


def run(config: DictConfig) -> None:
    """Write the front page of the results, and the scoreboard in the README of the project."""
    write(ROOT)
    print(f"written: {ROOT / 'results' / 'README.md'}, index.html, and the scoreboard in README.md")


def write(root: Path) -> None:
    """Write README.md, index.html, ranks.csv and the figures of `root`/results, and the scoreboard of `root`/README.md.

    Raises `UserError` if a folder cannot be written.
    """
    results = root / "results"
    found, table = papers(root), ranks(results)
    (results / "overview").mkdir(exist_ok=True)
    titles = titles_of_configs(root / "conf" / "explainer")
    drawn = {"ranks": ranks_figure(table, titles), "cost": cost_figure(quality(results), titles)}
    if (top := teaser(results)) is not None:
        drawn["teaser"] = top
    figures = write_figures(drawn, results / "overview")
    flat = table.set_axis([" ".join(column) for column in table.columns], axis=1)
    write_whole(results / "overview" / "ranks.csv", flat.to_csv(index_label="explainer", lineterminator="\n"))
    known = cards(results)
    shown = {
        "papers": found,
        "cards": known,
        "commands": {"speed": SPEED, **{card.name: card.command for card in known}},
        "figures": figures,
        "open": OPEN,
        "by_verdict": _by_verdict,
    }
    for name, template in (("README.md", "overview.md"), ("index.html", "overview.html")):
        write_whole(results / name, _render(template, shown))
    readme = root / "README.md"
    before, begin, rest = readme.read_text().partition(BEGIN)
    if begin:
        write_whole(readme, f"{before}{begin}\n{scoreboard(found)}\n{END}{rest.partition(END)[2]}")


def titles_of_configs(folder: Path) -> dict[str, str]:
    """Return the titles that explainers have in a folder of configs, by name; the committed tables have names only."""
    configs = [OmegaConf.load(file) for file in sorted(folder.rglob("*.yaml"))]
    own = [config.get("explainer", config) for config in configs if isinstance(config, DictConfig)]
    return {str(config.name): str(config.title) for config in own if "title" in config}


def scoreboard(found: Sequence[Paper]) -> str:
    """Return the number of claims by verdict, the finding and the page of every paper, as a Markdown table."""
    lines = ["| | holds | refuted | open | in short |", "|---|---:|---:|---:|---|"]
    for paper in found:
        counts = [paper.count("holds"), paper.count("refuted"), paper.count(*OPEN)]
        link = f"[{paper.title.partition(':')[0]}](experiments/{paper.name}/README.md)"
        numbers = " | ".join(str(count) if paper.claims else "" for count in counts)
        lines.append(f"| {link} | {numbers} | {paper.finding if paper.claims else 'not run yet'} |")
    return "\n".join(lines) + "\n"


def _by_verdict(claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims, those that were decided first."""
    order = ("holds", "refuted", *OPEN, "post hoc")
    return sorted(claims, key=lambda claim: order.index(claim.verdict))


def _render(template: str, shown: Mapping[str, Any]) -> str:
    escaping = template.endswith(".html")
    environment = Environment(
        loader=PackageLoader("evident.report.overview", ""), autoescape=escaping, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(shown)
