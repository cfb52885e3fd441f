"""Verdicts on metrics of explanations: `python experiments/metrics/claims.py`.

The script reads results/metrics/ and rewrites the table of claims in the README beside it. The rules were committed
before the results, which are of networks with seeds that nothing was chosen on.
"""

from pathlib import Path

import pandas as pd

from evident.report.claims.effects import exactly, judged, over_networks, sample
from evident.report.claims.results import Results, in_words
from evident.report.claims.verdicts import Claim, main

FLOWERS, NETWORKS, LANDSCAPES = "metrics/flowers", "metrics/flowers_networks", "metrics/landscapes"
DIGITS = "metrics/mnist"
MASKS = ("iou_best", "rank_accuracy", "mask_jaccard")  # which must put the oracle first
MAIN_JOB = ("average_precision", "rank_accuracy", "iou_best", "insertion_mean_colour", "deletion_mean_colour")
EXPERIMENTS = (FLOWERS, NETWORKS, LANDSCAPES, DIGITS)
AGREES, STABLE, PLANTED, FEW = 0.5, 0.9, 0.95, 64  # tau, tau, tau, images
DEPEND, DO_NOT = ("gradient", "integrated_gradients", "grad_cam", "rise"), ("guided_backprop", "deconvolution")


def claims(results: Path) -> list[Claim]:
    """Return all claims, judged by the tables in `results`; raises `UserError` if a table is missing."""
    flowers, networks, landscapes = (Trials(results, name) for name in (FLOWERS, NETWORKS, LANDSCAPES))
    return [
        *(random_scores_agree_with_nothing(trials) for trials in (flowers, networks, landscapes)),
        *(truth_agrees_with_itself(trials) for trials in (flowers, networks, landscapes)),
        oracle_comes_first(flowers),
        flowers.agrees("where, by rank accuracy", "rank_accuracy", "parts"),
        flowers.beats("where, area under IoU misleads", "iou_best", "iou_area", ("parts", "contributions")),
        flowers.agrees("how much, by insertion", "insertion_mean_colour", "contributions"),
        flowers.beats(
            "how much, insertion or deletion",
            "insertion_mean_colour",
            "deletion_mean_colour",
            ("parts", "contributions"),
        ),
        flowers.beats(
            "how much, relevance gain", "relevance_gain_mean_colour", "deletion_mean_colour", ("parts", "contributions")
        ),
        flowers.beats("how much, ROAD", "road_most", "deletion_mean_colour", ("parts", "contributions")),
        flowers.beats(
            "how much, squares", "deletion_squares_mean_colour", "deletion_mean_colour", ("parts", "contributions")
        ),
        flowers.agrees("how much, sensitivity-n", "sensitivity_n", "contributions"),
        flowers.agrees("how much, infidelity", "infidelity", "contributions"),
        networks_trained_with_removed_patches(flowers, networks),
        landscapes.agrees("how much, insertion on landscapes", "insertion_blur", "removal"),
        landscapes.beats(
            "how much, insertion or deletion on landscapes", "insertion_blur", "deletion_blur", ("removal",)
        ),
        few_images_are_enough(flowers),
        *maps_depend(Results(results, DIGITS)),
    ]


class Trials:
    """Read the tables of one trial and judge metrics by them."""

    def __init__(self, results: Path, experiment: str) -> None:
        self.at = Results(results, experiment)
        table = self.all("table")
        self.images = int(table["n"].max()) // len(str(table["seeds"].iloc[0]).split())

    def all(self, table: str) -> pd.DataFrame:
        """Return all rows of a table, of all networks."""
        return self.at.every(table)

    def taus(self, metric: str, truth: str, model: str | None = None) -> pd.Series:
        """Return tau of a metric with a truth, by model and seed; raises `UserError` if there are none."""
        table = self.all("validity_networks")
        own = (table["metric"] == metric) & (table["truth"] == truth) & table["without"].isna()
        own &= True if model is None else table["model"] == model
        found = table[own].dropna(subset="tau").set_index(["model", "seed"])["tau"]
        if found.empty:
            raise self.at.absent("validity_networks", metric=metric, truth=truth)
        return found

    def agrees(self, name: str, metric: str, truth: str) -> Claim:
        """Claim that tau of a metric with a truth is above `AGREES`."""
        taus = self.taus(metric, truth)
        effects = [over_networks(taus - AGREES, self.images)]
        rule = f"the ranking of explainers by {in_words(metric)} has a tau above {AGREES} with the truth by {truth}"
        return Claim(name, rule, self.at.experiment, f"tau {self._mean(metric, truth)}", *judged(effects))

    def beats(self, name: str, metric: str, other: str, truths: tuple[str, ...]) -> Claim:
        """Claim that a metric agrees more than another with each of the truths, on the same networks."""
        effects, numbers = [], []
        for truth in truths:
            gain = (self.taus(metric, truth) - self.taus(other, truth)).dropna()
            effects.append(over_networks(gain, self.images))
            numbers.append(f"{truth}: {self._mean(metric, truth)} against {self._mean(other, truth)}")
        each = " and ".join(truths)
        rule = f"{in_words(metric)} has a higher tau than {in_words(other)} with the truth by {each}"
        return Claim(name, rule, self.at.experiment, "; ".join(numbers), *judged(effects))

    def _mean(self, metric: str, truth: str) -> str:
        table = self.all("validity")
        [row] = table[(table["metric"] == metric) & (table["truth"] == truth)].to_dict("records")
        return f"{row['tau']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"


def networks_trained_with_removed_patches(flowers: Trials, networks: Trials) -> Claim:
    """Deletion shows nothing new to a network that saw removed patches in training (Hesse et al. 2024)."""
    metric, truth = "deletion_mean_colour", "parts"
    trained = networks.taus(metric, truth, "flower_net_in_domain").droplevel("model")
    plain = flowers.taus(metric, truth, "flower_net").droplevel("model")
    return Claim(
        "how much, networks trained with removed patches",
        f"{in_words(metric)} has a higher tau with the truth by {truth} on networks that saw removed patches than on "
        "those that did not, seed by seed",
        networks.at.experiment,
        f"{trained.mean():.2f} against {plain.mean():.2f}",
        *judged([over_networks((trained - plain).dropna(), networks.images)]),
    )


def random_scores_agree_with_nothing(trials: Trials) -> Claim:
    """The trial finds no agreement where there is none."""
    rows = trials.all("validity").query("metric == 'planted_random'").sort_values("truth")
    effects = [over_networks(trials.taus("planted_random", truth), trials.images) for truth in rows["truth"]]
    return Claim(
        f"trial, random scores: {trials.at.experiment}",
        "the interval of tau of random scores contains zero for every truth",
        trials.at.experiment,
        "; ".join(f"{row.truth} {row.tau:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]" for row in rows.itertuples()),
        sample(effects),
        exactly(bool(((rows["ci_low"] < 0) & (rows["ci_high"] > 0)).all())),
    )


def truth_agrees_with_itself(trials: Trials) -> Claim:
    """The trial finds full agreement where there is one."""
    rows = trials.all("validity")
    rows = rows[rows["metric"].str.startswith("planted_perfect")].sort_values("truth")
    effects = [over_networks(trials.taus(row.metric, row.truth) - PLANTED, trials.images) for row in rows.itertuples()]
    return Claim(
        f"trial, perfect scores: {trials.at.experiment}",
        f"tau of a truth with itself is at least {PLANTED}",
        trials.at.experiment,
        "; ".join(f"{row.truth} {row.tau:.2f}" for row in rows.itertuples()),
        sample(effects),
        exactly(bool((rows["tau"] >= PLANTED).all())),
    )


def oracle_comes_first(trials: Trials) -> Claim:
    """No explainer finds the evidence better than the mask itself."""
    ends = trials.all("ends")
    rows = ends[ends["metric"].isin(MASKS)]
    networks = int(rows.groupby("metric")["networks"].sum().min())
    return Claim(
        "trial, oracle first",
        f"the oracle is first by {', '.join(map(in_words, MASKS))} on every network",
        trials.at.experiment,
        "; ".join(f"{name} {part['oracle_rank'].mean():.1f}" for name, part in rows.groupby("metric")),
        f"{networks} networks x {trials.images} images, no test",
        exactly(bool((rows["oracle_rank"] == 1).all())),
    )


def few_images_are_enough(trials: Trials) -> Claim:
    """The main job's images give a stable ranking."""
    table = trials.at.rows("images_needed", model="flower_net").set_index("metric")
    rows = table.loc[[name for name in MAIN_JOB if name in table.index]]
    needed = [f"{row.needed:.0f}" if row.needed == row.needed else f"> {row.largest}" for row in rows.itertuples()]
    return Claim(
        "how many images",
        f"with {FEW} images the rankings by two disjoint halves agree with a tau of {STABLE} for every metric of the "
        "main job, so that half of them are enough",
        trials.at.experiment,
        "; ".join(f"{in_words(name)} {text}" for name, text in zip(rows.index, needed, strict=True)),
        f"{FEW} images of FlowerNet, no test",
        exactly(bool((rows["needed"] <= FEW / 2).all())),
    )


def maps_depend(at: Results) -> list[Claim]:
    """Sanity checks: which maps depend on what was learnt (Adebayo et al. 2018)."""
    table = at.every("sanity")
    table = table[(table["randomised"] == "all layers") & (table["measure"] == "spearman")].set_index("explainer")
    found = []
    for name, explainers, wanted in (
        ("sanity, maps that depend on the network", DEPEND, "depends"),
        ("sanity, maps that do not", DO_NOT, "does not depend"),
    ):
        rows = table.loc[list(explainers)]
        verdicts = [str(verdict) for verdict in rows["verdict"]]
        right, wrong = verdicts.count(wanted), len(verdicts) - verdicts.count(wanted) - verdicts.count("undecided")
        found.append(
            Claim(
                name,
                f"the map of {', '.join(explainers)} {'depends' if wanted == 'depends' else 'does not depend'} on the "
                "weights: Spearman's correlation with the map of a network with random weights is below (above) 0.5",
                at.experiment,
                "; ".join(
                    f"{row.Index} {row.mean:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]" for row in rows.itertuples()
                ),
                f"{int(rows['networks'].min())} networks x {int((rows['n'] / rows['networks']).min())} images",
                "refuted" if wrong else "holds" if right == len(verdicts) else "undecided",
            )
        )
    return found


if __name__ == "__main__":
    main(claims, EXPERIMENTS, __file__)
