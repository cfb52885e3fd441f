"""Verdicts on FGVis's claims: `python experiments/fgvis/claims.py`.

The script reads results/ and rewrites the table of claims in the README beside it. The README says when
each rule was written.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from evident.report.claims.comparisons import beats_all
from evident.report.claims.effects import exactly, from_share, judged
from evident.report.claims.results import Results
from evident.report.claims.verdicts import Claim, main

OWN = (
    *("defence", "defence_mnist", "games", "an8flower", "mnist", "discrimination_imagenet", "discrimination"),
    *("overlap", "architectures", "colour"),
)
EXPERIMENTS = (*(f"fgvis/{name}" for name in OWN), "imagenet", "an8flower", "mnist")
PUBLISHED = ("squeezenet1_1", "mobilenet_v2", "resnet18")  # convolutional networks with published weights
BASELINES = ("grad_cam", "occlusion", "lime", "rise")  # the baselines of the paper (Wagner et al. 2019, claim e)
COARSE = ("grad_cam", "occlusion", "rise")  # the baselines that score regions
OTHERS = ("gradient", "grad_cam")  # the finest of the usual maps, and a discriminative one
SIDE_BY_SIDE = (*OTHERS, "guided_grad_cam", "excitation_backprop")
# FlowerNet's layer for CAMs was chosen to cover one flower; the last layer tells two apart. SqueezeNet's is the last.
OF_TWO = {"flowers": (*SIDE_BY_SIDE, "grad_cam_layer_4"), "photographs": SIDE_BY_SIDE}
GAMES = {"preservation": "fgvis", "deletion": "fgvis_deletion"}
ABSENT = {"nearest": "nearest", "least_likely": "least likely", "random": "random"}
FILTERS = {"published": "fgvis_generation", "one-sided, ours": "fgvis_generation_one_sided"}
UNFILTERED = "fgvis_generation_unfiltered"
TRACE = 0.01  # share of the mask
KEPT = 0.895  # of the score: 0.9, less a margin of equivalence
REACHED, STOPPED = 0.5, 0.1  # shares of p(x): the present class reaches the first, absent ones stay below the second
DISCRIMINATION = ("discrimination_mass", "discrimination_half", "discrimination_pointing")


def claims(folder: Path) -> list[Claim]:
    """Return all claims, judged by the tables in `folder`; raises `UserError` if a table is missing."""

    def of(experiment: str, model: str | None = None) -> Results:
        return Results(folder, experiment, model)

    own = {"photographs": of("fgvis/games"), "flowers": of("fgvis/an8flower"), "digits": of("fgvis/mnist")}
    absent = {"photographs": of("fgvis/defence"), "digits": of("fgvis/defence_mnist")}
    pairs = {"photographs": of("fgvis/discrimination_imagenet"), "flowers": of("fgvis/discrimination")}
    photographs = {f"photographs, {model}": of("imagenet", model) for model in PUBLISHED}
    all_explainers = photographs | {"flowers": of("an8flower"), "digits": of("mnist")}
    networks = {model: of("fgvis/architectures", model) for model in PUBLISHED}
    several = dict(networks)
    networks |= {"flower_net": own["flowers"], "mnist_net": own["digits"]}
    return [
        *(reaches_absent_classes(*place) for place in absent.items()),
        *(separates_present_from_absent(*place, kind) for place in absent.items() for kind in FILTERS),
        needs_more_of_the_mask("photographs", own["photographs"], "mask_share"),
        needs_more_of_the_mask("digits", absent["digits"], "defence_predicted_mask_share"),
        beats_all("b, fine: flowers", own["flowers"], "fgvis", ("average_precision", "mass_accuracy"), COARSE),
        *(is_enough_alone(*place) for place in own.items()),
        *(is_found_from_an_empty_mask(*place, "published") for place in own.items()),
        is_found_from_an_empty_mask("photographs", own["photographs"], "one-sided, ours"),
        *(
            beats_all(f"c, small: {data}", own[data], "fgvis", ("sparsity",), BASELINES)
            for data in ("flowers", "digits")
        ),
        *(lies_on_its_class(*place, game) for place in pairs.items() for game in GAMES),
        *(
            beats_all(f"d, baselines, {game}: {data}", at, explainer, DISCRIMINATION[:2], OF_TWO[data])
            for data, at in pairs.items()
            for game, explainer in GAMES.items()
        ),
        *(differs_between_classes(of("fgvis/overlap"), game) for game in GAMES),
        *(
            beats_all(f"e, {game}: {data}", at, explainer, ("deletion_mean_colour",), BASELINES)
            for data, at in all_explainers.items()
            for game, explainer in GAMES.items()
        ),
        *(works_on(*place) for place in networks.items()),
        *(is_small_with_our_filter(*place) for place in several.items()),
        depends_on_colour(own["flowers"]),
        tells_classes_apart_by_colour(of("fgvis/colour")),
    ]


def reaches_absent_classes(data: str, at: Results) -> Claim:
    """(a) Optimisation without the defence yields adversarial evidence ..."""
    scores = {kind: at.mean(UNFILTERED, f"defence_{kind}_reached") for kind in ABSENT}
    shares = {kind: at.mean(UNFILTERED, f"defence_{kind}_mask_share") for kind in ABSENT}
    effects = [at.above(f"defence_{kind}_reached", UNFILTERED, REACHED) for kind in ABSENT]
    effects += [at.below(f"defence_{kind}_mask_share", UNFILTERED, TRACE) for kind in ABSENT]
    return Claim(
        f"a, adversarial: {data}",
        "generation without the filter gives the nearest absent class, the least likely and a random one at least half "
        "of the image's highest probability on average, each with less than 1 % of the mask",
        at.experiment,
        "; ".join(f"{name} {scores[kind]:.3f} with {shares[kind]:.2%}" for kind, name in ABSENT.items()),
        *judged(effects),
    )


def separates_present_from_absent(data: str, at: Results, kind: str) -> Claim:
    """(a) ... and gradient filtering stops it. A filter under which nothing at all is reached is no defence."""
    filtered, free = (at.rows("separation", explainer=name).iloc[0] for name in (FILTERS[kind], UNFILTERED))
    return Claim(
        f"a, separation, {kind}: {data}",
        "of the highest probability of the image, generation with the filter reaches at least 0.5 for the class that "
        "is present (median) and at most 0.1 for absent ones (95th percentile over the nearest, the least likely and a "
        "random class), while without the filter both medians are at least 0.5",
        at.experiment,
        f"present {filtered['present_median']:.3f}, absent {filtered['absent_p95']:.3f}, AUC {filtered['auc']:.3f}; "
        f"without the filter present {free['present_median']:.3f}, absent {free['absent_median']:.3f} (median), "
        f"AUC {free['auc']:.3f}",
        f"{filtered['n_present']} present and {filtered['n_absent']} absent classes, no test",
        exactly(
            filtered["present_median"] >= REACHED
            and filtered["absent_p95"] <= STOPPED
            and min(free["present_median"], free["absent_median"]) >= REACHED
        ),
    )


def needs_more_of_the_mask(data: str, at: Results, metric: str) -> Claim:
    """(a) Without the filter a trace of noise also keeps, or destroys, the score of a class that is present."""
    pairs = {game: (name, f"{name}_unfiltered") for game, name in GAMES.items()}
    effects = [at.below(metric, free, TRACE) for _, free in pairs.values()]
    effects += [at.difference(metric, *pair) for pair in pairs.values()]
    return Claim(
        f"a, mask size: {data}",
        "for the predicted class, preservation and deletion each use less than 1 % of the mask without the filter, and "
        "more with the published filter than without",
        at.experiment,
        "; ".join(
            f"{game} {at.mean(free, metric):.2%} -> {at.mean(name, metric):.2%}" for game, (name, free) in pairs.items()
        ),
        *judged(effects),
    )


def is_enough_alone(data: str, at: Results) -> Claim:
    """(c) Explanations are valid inputs: the explanation alone gets (nearly) the image's score."""
    effects = [at.above("explanation_keeps", "fgvis", KEPT)]
    return Claim(
        f"c, alone: {data}",
        "preservation keeps 0.9 of the image's score on average, less a margin of 0.005 (the search ensures this: it "
        "starts from the whole image and accepts no mask that keeps less)",
        at.experiment,
        kept(at, "fgvis"),
        *judged(effects),
    )


def is_found_from_an_empty_mask(data: str, at: Results, kind: str) -> Claim:
    """(c) The same, but nothing except the network's gradient leads the search there."""
    effects = [at.above("explanation_keeps", FILTERS[kind], KEPT)]
    return Claim(
        f"c, from an empty mask{'' if kind == 'published' else f', {kind}'}: {data}",
        "generation, which starts from an empty mask, reaches 0.9 of the image's score on average, less a margin of "
        "0.005",
        at.experiment,
        kept(at, FILTERS[kind]),
        *judged(effects),
    )


def lies_on_its_class(data: str, at: Results, game: str) -> Claim:
    """(d) Explanations are class-discriminative."""
    effects = [at.above(metric, GAMES[game], 0.5) for metric in DISCRIMINATION]
    return Claim(
        f"d, {game}: {data}",
        "with two images side by side, more than half of the mask on the two objects is on the explained class's "
        "object, and more than half of the mask and of its maxima is in that object's half",
        at.experiment,
        "; ".join(f"{metric.split('_')[1]} {at.interval(GAMES[game], metric)}" for metric in DISCRIMINATION),
        *judged(effects),
    )


def differs_between_classes(at: Results, game: str) -> Claim:
    """(d) The same in photographs, where it is unknown which part belongs to which class."""
    claim = beats_all(f"d, overlap, {game}: photographs", at, GAMES[game], ("class_overlap",), OTHERS)
    images = at.score(GAMES[game], "class_overlap")["n"]
    return replace(
        claim,
        numbers=f"{claim.numbers}, over the {images} photographs whose second class has a probability of at least 0.1",
    )


def works_on(model: str, at: Results) -> Claim:
    """(f) The same method applies to many architectures and data sets."""
    effects = [
        at.above("explanation_keeps", "fgvis", KEPT),
        at.below("mask_share", "fgvis", 0.1),
        at.below("complement_score", "fgvis_deletion", 0.1),
        at.below("mask_share", "fgvis_deletion", 0.1),
    ]
    return Claim(
        f"f: {model}",
        "with the same settings, on average, less than a tenth of the mask keeps 0.9 of the score, less a margin of "
        "0.005, and removing less than a tenth of it leaves a score of at most 0.1",
        at.experiment,
        f"{kept(at, 'fgvis')}; a score of {at.mean('fgvis_deletion', 'complement_score'):.3f} without "
        f"{at.mean('fgvis_deletion', 'mask_share'):.1%} of it",
        *judged(effects),
    )


def is_small_with_our_filter(model: str, at: Results) -> Claim:
    """(f) The same for preservation with the one-sided filter, which is ours."""
    effects = [
        at.above("explanation_keeps", "fgvis_one_sided", KEPT),
        at.below("mask_share", "fgvis_one_sided", 0.1),
    ]
    return Claim(
        f"f, one-sided, ours: {model}",
        "with the same settings, on average, less than a tenth of the mask keeps 0.9 of the score, less a margin of "
        "0.005",
        at.experiment,
        kept(at, "fgvis_one_sided"),
        *judged(effects),
    )


def depends_on_colour(at: Results) -> Claim:
    """(g) The colour in explanations matters where colour is the only evidence."""
    change = colour_changes(at)
    others = [str(name) for name, value in change.items() if value >= -0.5]
    return Claim(
        "g: flowers",
        "in grey, the explanations of all classes but at most one lose more than 0.5 (the network has to give a grey "
        "flower some class)",
        at.experiment,
        f"{change.mean():+.3f} on average over classes; {len(change) - len(others)} of {len(change)} lose more than 0.5"
        + (f", not {', '.join(others)}" if others else ""),
        f"{len(change)} classes, no test",
        exactly(len(others) <= 1),
    )


def tells_classes_apart_by_colour(at: Results) -> Claim:
    """(g) The colour in explanations reveals for which classes the score depends on colour."""
    change = colour_changes(at)
    names = [f"{str(name).split(',')[0]} {value:+.2f}" for name, value in change.items()]
    much, little = change < -0.5, change > -0.1
    return Claim(
        "g: photographs",
        "classes differ: in grey, the explanations of more than a tenth of the classes lose more than 0.5, and those "
        "of more than another tenth lose less than 0.1",
        at.experiment,
        f"of {len(change)} classes {much.mean():.0%} lose more than 0.5 (most: {', '.join(names[:3])}), "
        f"{little.mean():.0%} less than 0.1 (least: {', '.join(names[:-4:-1])})",
        *judged([from_share(int(share.sum()), len(change), 0.1) for share in (much, little)], "classes"),
    )


def kept(at: Results, explainer: str) -> str:
    """Return as text which share of the score the explanation keeps, and with which share of the mask."""
    keeps = at.interval(explainer, "explanation_keeps")
    return f"{keeps} of the score with {at.mean(explainer, 'mask_share'):.1%} of the mask"


def colour_changes(at: Results) -> pd.Series:
    """Return how the probability of FGVis's explanation changes in grey, by class, the largest fall first."""
    rows = at.rows("colour", explainer="fgvis", metric="colour_grey")
    return rows.groupby("class", sort=False)["mean"].mean().sort_values(kind="stable")


if __name__ == "__main__":
    main(claims, EXPERIMENTS, __file__)
