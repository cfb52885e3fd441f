"""Every config of conf/explainer, as a run of FlowerNet at scale=smoke has it."""

from functools import cache
from typing import Any

from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

CONF = ROOT / "conf"
FOLDER = CONF / "explainer"
NAMES = [file.relative_to(FOLDER).with_suffix("").as_posix() for file in sorted(FOLDER.rglob("*.yaml"))]
RUN = ["+seed=0", "+scale=smoke", "+model=flower_net"]


@cache
def run_with(name: str) -> DictConfig:
    """Return the config of a run with an explainer, `grad_cam` or `lime/squares`."""
    return OmegaConf.create({**_run(), "explainer": _explainers()[f"explainer_{NAMES.index(name)}"]})


def explainer_of(name: str) -> DictConfig:
    """Return the explainer's part of the config."""
    return run_with(name).explainer


@cache
def _run() -> Any:
    return _composed(*RUN)


@cache
def _explainers() -> Any:
    # One config that holds all takes a fraction of the time of a config for each.
    return _composed(*RUN, *(f"+explainer@explainer_{number}={name}" for number, name in enumerate(NAMES)))


def _composed(*overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose(overrides=list(overrides)), resolve=False)
