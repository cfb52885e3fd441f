"""How far what explanations reach for the class that is present is separated from what they reach for absent ones."""

import pandas as pd
from scipy.stats import mannwhitneyu

ABSENT = 0.95  # the percentile that stands for absent classes


def separation(reached: pd.DataFrame) -> pd.DataFrame:
    """Return one row per explainer, data set and model, over all images and seeds.

    `reached` has the columns explainer, data, model, kind and value; `kind` is "present", or a kind of absent class.
    `present_median` is the median of the class that is present; `absent_median` and `absent_p95` are the median and the
    95th percentile of all kinds of absent classes together, and KIND_p95 is that of one kind. `auc` is the probability
    that a present class scores higher than an absent one, ties counted half. `n_present` and `n_absent` count scores.
    NaN scores are left out.
    """
    rows = []
    names = ["explainer", "data", "model"]
    for place, of in reached.dropna(subset="value").groupby(names, sort=False):
        present, absent = (of[(of["kind"] == "present") == is_present] for is_present in (True, False))
        count = len(present) * len(absent)
        rank_sum = mannwhitneyu(present["value"], absent["value"]).statistic if count else float("nan")
        by_kind = absent.groupby("kind", sort=False)["value"].quantile(ABSENT)
        rows.append(
            dict(zip(names, place, strict=True))
            | {"present_median": present["value"].median(), "absent_median": absent["value"].median()}
            | {"absent_p95": absent["value"].quantile(ABSENT)}
            | {f"{str(kind).replace(' ', '_')}_p95": value for kind, value in by_kind.items()}
            | {"auc": rank_sum / count if count else float("nan")}
            | {"n_present": len(present), "n_absent": len(absent)}
        )
    return pd.DataFrame(rows)
