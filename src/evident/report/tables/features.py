"""The features that explainers learned to be relevant, with what their strongest images show."""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor


def with_interpretation(features: pd.DataFrame, interpretation: Mapping[str, Tensor] | None) -> pd.DataFrame:
    """Add to a table of relevant features what their strongest training images show, if they were interpreted.

    `purity` is the share of a feature's strongest images that belong to its class, `evidence` the share of its signal
    in them that lies inside their masks; `..._control` are the same for another feature of the same layer, chosen at
    random. NaN for a feature that responds to no image; `evidence` is also NaN without masks.
    """
    if not interpretation:
        return features
    features = features.copy()
    row_of = {place: row for row, place in enumerate(interpretation["places"].tolist())}
    target = torch.tensor(features["target"])[:, None]
    for suffix, places in (("", features["place"]), ("_control", features["control"])):
        rows = [row_of[place] for place in places]
        labels = interpretation["labels"][rows]
        # Label -1: the feature responds to fewer images than are shown.
        features[f"purity{suffix}"] = torch.where(labels >= 0, labels == target, torch.nan).nanmean(1).numpy()
        features[f"evidence{suffix}"] = interpretation["evidence"][rows].nanmean(1).numpy()
    return features
