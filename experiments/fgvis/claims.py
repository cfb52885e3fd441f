"""Verdicts on FGVis's claims, from the tables of its experiments: `python experiments/fgvis/claims.py`.

It reads results/ and rewrites the table of claims in the README beside it. The rules were fixed before any of these
tables was read.
"""

import sys
from pathlib import Path

import pandas as pd

from evident.errors import UserError
from evident.report.claims.results import Results
from evident.report.claims.verdicts import Claim, measured_at, write_claims

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "results"
OWN = (
    *("defence", "defence_mnist", "games", "an8flower", "mnist", "discrimination_imagenet", "discrimination"),
    *("overlap", "architectures", "colour"),
)
EXPERIMENTS = (*(f"fgvis/{name}" for name in OWN), "imagenet", "an8flower", "mnist")
PUBLISHED = ("squeezenet1_1", "mobilenet_v2")
BASELINES = ("grad_cam", "occlusion", "lime", "rise")  # what its authors compare with (PAPERS 2, claim e)
COARSE = ("grad_cam", "occlusion", "rise")  # what has values for regions
OTHERS = ("gradient", "grad_cam")  # the finest of the usual maps, and the most discriminative one
GAMES = {"preservation": "fgvis", "deletion": "fgvis_deletion"}
ABSENT = {"least_likely": "least likely", "random": "by lot"}
HALVES = ("discrimination_mass", "discrimination_half", "discrimination_pointing")


def claims(folder: Path) -> list[Claim]:
    """All claims on the tables in `folder`; raises `UserError` where one is missing."""

    def of(experiment: str, model: str | None = None) -> Results:
        return Results(folder, experiment, model)

    own = {"photographs": of("fgvis/games"), "flowers": of("fgvis/an8flower"), "digits": of("fgvis/mnist")}
    absent = {"photographs": of("fgvis/defence"), "digits": of("fgvis/defence_mnist")}
    pairs = {"photographs": of("fgvis/discrimination_imagenet"), "flowers": of("fgvis/discrimination")}
    photographs = {f"photographs, {model}": of("imagenet", model) for model in PUBLISHED}
    main = photographs | {"flowers": of("an8flower"), "digits": of("mnist")}
    networks = {model: of("fgvis/architectures", model) for model in PUBLISHED}
    networks |= {"flower_net": own["flowers"], "mnist_net": own["digits"]}
    return [
        *(reaches_what_is_not_there(*place) for place in absent.items()),
        *(is_stopped_by_the_filter(*place) for place in absent.items()),
        *(keeps_what_is_there(*place) for place in absent.items()),
        *(needs_a_trace(*place) for place in absent.items()),
        better("b, fine: flowers", own["flowers"], "fgvis", ("average_precision", "mass_accuracy"), COARSE),
        *(is_enough_alone(*place) for place in own.items()),
        *(is_found_from_nothing(*place) for place in own.items()),
        *(better(f"c, small: {data}", own[data], "fgvis", ("sparsity",), BASELINES) for data in ("flowers", "digits")),
        *(lies_on_its_class(*place, game) for place in pairs.items() for game in GAMES),
        *(
            better(f"d, others, {game}: {data}", at, explainer, HALVES[:2], OTHERS)
            for data, at in pairs.items()
            for game, explainer in GAMES.items()
        ),
        *(differs_between_classes(of("fgvis/overlap"), game) for game in GAMES),
        *(
            better(f"e, {game}: {data}", at, explainer, ("deletion_mean_colour",), BASELINES)
            for data, at in main.items()
            for game, explainer in GAMES.items()
        ),
        *(works_on(*place) for place in networks.items()),
        hangs_on_colour(own["flowers"]),
        tells_classes_apart_by_colour(of("fgvis/colour")),
    ]


def better(name: str, at: Results, explainer: str, metrics: tuple[str, ...], others: tuple[str, ...]) -> Claim:
    """The explainer has better scores than each of the others."""
    found = [at.beats(metric, explainer, others) for metric in metrics]
    words = " and ".join(metric.replace("_", " ") for metric in metrics)
    return Claim(
        name,
        f"{at.score(explainer, metrics[0])['direction']} {words} than {', '.join(others)}, each paired over images, "
        "Holm's p < 0.05",
        at.experiment,
        "; ".join(numbers for numbers, _ in found),
        all(holds for _, holds in found),
    )


def reaches_what_is_not_there(data: str, at: Results) -> Claim:
    """(a) Optimisation without the defence yields adversarial evidence ..."""
    explainer = "fgvis_generation_undefended"
    scores = {kind: at.mean(explainer, f"defence_{kind}_explanation_score") for kind in ABSENT}
    shares = {kind: at.mean(explainer, f"defence_{kind}_mask_share") for kind in ABSENT}
    return Claim(
        f"a, adversarial: {data}",
        "generation without the filter gives the least likely class, and one by lot, a probability of at least 0.5 on "
        "average, each with less than 1 % of the mask",
        at.experiment,
        "; ".join(f"{name} {scores[kind]:.3f} with {shares[kind]:.2%}" for kind, name in ABSENT.items()),
        all(scores[kind] >= 0.5 and shares[kind] < 0.01 for kind in ABSENT),
    )


def is_stopped_by_the_filter(data: str, at: Results) -> Claim:
    """(a) ... and gradient filtering stops it. No parameter was tuned for that: the filter has none."""
    pair = ("fgvis_generation", "fgvis_generation_undefended")
    numbers, holds = [], []
    for kind, name in ABSENT.items():
        metric = f"defence_{kind}_explanation_score"
        defended, undefended = (at.mean(explainer, metric) for explainer in pair)
        difference, p = at.against(metric, *pair)
        numbers.append(f"{name} {undefended:.3f} -> {defended:.3f} (p = {p:.2g})")
        holds.append(defended <= 0.1 and difference < 0 and p < 0.05)
    return Claim(
        f"a, defence: {data}",
        "with the filter those classes get at most 0.1 on average, and less than without it, Holm's p < 0.05",
        at.experiment,
        "; ".join(numbers),
        all(holds),
    )


def keeps_what_is_there(data: str, at: Results) -> Claim:
    """(a) A filter that stopped everything would be no defence."""
    metric = "defence_predicted_explanation_score"
    return Claim(
        f"a, what is there: {data}",
        "generation with the filter gives the predicted class a probability of at least 0.5 on average",
        at.experiment,
        f"{at.interval('fgvis_generation', metric)}, without the filter "
        f"{at.mean('fgvis_generation_undefended', metric):.3f}",
        at.mean("fgvis_generation", metric) >= 0.5,
    )


def needs_a_trace(data: str, at: Results) -> Claim:
    """(a) Noise keeps, and destroys, the score of a class that is there too."""
    metric, numbers, holds = "defence_predicted_mask_share", [], []
    for game, explainer in GAMES.items():
        pair = (explainer, f"fgvis_{game}_undefended")
        defended, undefended = (at.mean(name, metric) for name in pair)
        difference, p = at.against(metric, *pair)
        numbers.append(f"{game} {undefended:.2%} -> {defended:.2%} (p = {p:.2g})")
        holds.append(undefended < 0.01 and difference > 0 and p < 0.05)
    return Claim(
        f"a, trace: {data}",
        "without the filter preservation and deletion each do with less than 1 % of the mask for the predicted class, "
        "with it with more than that without, Holm's p < 0.05",
        at.experiment,
        "; ".join(numbers),
        all(holds),
    )


def is_enough_alone(data: str, at: Results) -> Claim:
    """(c) Explanations are valid inputs: the explanation alone gets (nearly) the image's score."""
    return Claim(
        f"c, alone: {data}",
        "preservation keeps at least 0.9 of the image's score on average (by its search: it starts from the whole "
        "image, and accepts nothing less)",
        at.experiment,
        kept(at, "fgvis"),
        at.mean("fgvis", "explanation_keeps") >= 0.9,
    )


def is_found_from_nothing(data: str, at: Results) -> Claim:
    """(c) The same where nothing but the network's gradient says that it must be so."""
    return Claim(
        f"c, from nothing: {data}",
        "generation, which starts from an empty mask, reaches at least 0.9 of the image's score on average",
        at.experiment,
        kept(at, "fgvis_generation"),
        at.mean("fgvis_generation", "explanation_keeps") >= 0.9,
    )


def lies_on_its_class(data: str, at: Results, game: str) -> Claim:
    """(d) Explanations are class-discriminative."""
    scores = {metric: at.score(GAMES[game], metric) for metric in HALVES}
    return Claim(
        f"d, {game}: {data}",
        "of two images side by side, more than half lies on the explained class's object, and in its half, and so do "
        "more than half of the maxima: 95 % intervals above 0.5",
        at.experiment,
        "; ".join(f"{metric.split('_')[1]} {at.interval(GAMES[game], metric)}" for metric in HALVES),
        all(row["ci_low"] > 0.5 for row in scores.values()),
    )


def differs_between_classes(at: Results, game: str) -> Claim:
    """(d) Also where nobody knows which part of a photograph belongs to which class."""
    claim = better(f"d, overlap, {game}: photographs", at, GAMES[game], ("class_overlap",), OTHERS)
    images = at.score(GAMES[game], "class_overlap")["n"]
    numbers = f"{claim.numbers}, of the {images} photographs whose second class has a probability of 0.1"
    return Claim(claim.name, claim.rule, claim.experiment, numbers, claim.holds)


def works_on(model: str, at: Results) -> Claim:
    """(f) The same method applies to many architectures and data sets."""
    destroyed = at.mean("fgvis_deletion", "complement_score")
    holds = (
        at.mean("fgvis", "explanation_keeps") >= 0.9
        and at.mean("fgvis", "mask_share") < 0.1
        and destroyed <= 0.1
        and at.mean("fgvis_deletion", "mask_share") < 0.1
    )
    return Claim(
        f"f: {model}",
        "with the same settings, less than a tenth of the mask keeps 0.9 of the score, and without less than a tenth "
        "of it at most 0.1 is left, on average",
        at.experiment,
        f"{kept(at, 'fgvis')}; {destroyed:.3f} is left without {at.mean('fgvis_deletion', 'mask_share'):.1%}",
        holds,
    )


def hangs_on_colour(at: Results) -> Claim:
    """(g) The colour in explanations matters where colour is all the evidence that there is."""
    fall = colours(at)
    others = [str(name) for name, change in fall.items() if change >= -0.5]
    return Claim(
        "g: flowers",
        "in grey the explanations of all classes, but one at most, lose more than 0.5: the network has to call a grey "
        "flower something",
        at.experiment,
        f"{fall.mean():+.3f} on average over classes; {len(fall) - len(others)} of {len(fall)} lose more than 0.5"
        + (f", not {', '.join(others)}" if others else ""),
        len(others) <= 1,
    )


def tells_classes_apart_by_colour(at: Results) -> Claim:
    """(g) The colour in explanations reveals for which classes the score hangs on colour."""
    fall = colours(at)
    names = [f"{str(name).split(',')[0]} {change:+.2f}" for name, change in fall.items()]
    much, little = (fall < -0.5).mean(), (fall > -0.1).mean()
    return Claim(
        "g: photographs",
        "classes differ: in grey the explanations of a tenth of them at least lose more than 0.5, and those of another "
        "tenth less than 0.1",
        at.experiment,
        f"of {len(fall)} classes {much:.0%} lose more than 0.5 (most: {', '.join(names[:3])}), {little:.0%} less than "
        f"0.1 (least: {', '.join(names[:-4:-1])})",
        bool(much >= 0.1 and little >= 0.1),
    )


def kept(at: Results, explainer: str) -> str:
    """How much of the score how much of the mask keeps, in words."""
    keeps = at.interval(explainer, "explanation_keeps")
    return f"{keeps} of the score with {at.mean(explainer, 'mask_share'):.1%} of the mask"


def colours(at: Results) -> pd.Series:
    """How the probability of FGVis's explanation changes in grey, class by class, the largest fall first."""
    rows = at.read("colour")
    rows = rows[(rows["explainer"] == "fgvis") & (rows["metric"] == "colour_grey")]
    if rows.empty:
        raise at.absent("colour", "colour_grey of fgvis")
    return rows.groupby("class", sort=False)["mean"].mean().sort_values(kind="stable")


if __name__ == "__main__":
    try:
        print(write_claims(claims(RESULTS), HERE, measured_at([RESULTS / name for name in EXPERIMENTS])))
    except UserError as error:
        sys.exit(str(error))
