"""The claim of every paper: its explainer scores better than others."""

from evident.report.claims.effects import judged, sample
from evident.report.claims.results import Results, in_words
from evident.report.claims.verdicts import Claim


def beats_all(
    name: str,
    at: Results,
    explainer: str,
    metrics: tuple[str, ...],
    others: tuple[str, ...],
    score: str | None = None,
    post_hoc: bool = False,
) -> Claim:
    """Claim that the explainer scores better by every metric than each of the others, paired over images.

    `score` is what the rule calls the metrics, by default their names; a `post_hoc` claim gets no verdict.
    """
    found = [at.beats(metric, explainer, others) for metric in metrics]
    effects = [effect for _, of_metric in found for effect in of_metric]
    score = score or " and ".join(map(in_words, metrics))
    return Claim(
        name,
        f"{at.score(explainer, metrics[0])['direction']} {score} than {'each of ' if len(others) > 1 else ''}"
        f"{', '.join(others)}",
        at.experiment,
        "; ".join(numbers for numbers, _ in found),
        *((sample(effects), "post hoc", "") if post_hoc else judged(effects)),
    )
