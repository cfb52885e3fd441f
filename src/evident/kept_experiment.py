"""The YAML file of an experiment that runs what a command ran, for a user who wants to keep it."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

# What `task=compare` calls settings of an experiment.
SETTINGS = {"images": "data.root", "train_images": "data.build.train_images", "target": "explained.target"}
# What belongs to a command rather than to an experiment.
LEFT_OUT = ("task", "experiment", "logger", "paths", "hydra", "recompute", "raise_errors", "kept_as")


def kept_experiment(name: str, base: str, overrides: Sequence[str], axes: Mapping[str, Any]) -> str:
    """Return the content of conf/experiment/`name`.yaml, which adds the `overrides` of a command to experiment `base`.

    `axes` are those of the sweep; an override of one of them, or of a group, selects files.
    """
    chosen: dict[str, str] = {}
    swept: dict[str, str] = {}
    values = OmegaConf.create({"experiment": name})
    repository = GlobalHydra.instance().config_loader().repository  # type: ignore[attr-defined]
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, text = override.key_or_group, str(override.input_line).partition("=")[2]
        if key.split(".")[0].split("/")[0] in LEFT_OUT:
            continue
        if key in axes or override.is_sweep_override():
            swept[key] = text
        elif repository.group_exists(key):
            chosen[key] = text
        else:
            OmegaConf.update(values, SETTINGS.get(key, key), override.value(), force_add=True)
    content: dict[str, Any] = {
        "defaults": [base, *({f"override /{group}": file} for group, file in chosen.items()), "_self_"],
        **OmegaConf.to_container(values),  # type: ignore[dict-item]
    }
    if swept:
        content["hydra"] = {"sweeper": {"params": swept}}
    return f"# @package _global_\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}"
