"""A loader of configs for sweeps, whose cells differ mostly in values, such as the seed."""

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

# Makers of copies, of this process, by what selects the files and by their folders.
_composed: dict[tuple[Any, ...], Callable[[], DictConfig]] = {}


def prepare_loader(config: DictConfig) -> None:
    """Let `glob(*)` list the files of the folders of `hydra.searchpath`, and merge the files of a group once.

    Hydra uses these folders only to compose a config.
    """
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    folders = loader.get_search_path()
    schema = folders.get_path().pop()  # Hydra expects it at the end
    for folder in config.hydra.searchpath:
        folders.append("hydra.searchpath", folder)
    folders.get_path().append(schema)
    loader.repository.initialize_sources(folders)
    loader.__class__ = GroupsOnce


class GroupsOnce(ConfigLoaderImpl):
    """Merge the files of each choice of groups once per process, then set the values of each config.

    Hydra merges some fifty files for every cell, and again to check the sweep and to write the report. A value cannot
    select a file: the defaults list sees the choices of groups only.
    """

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose the config of one cell, as Hydra does."""
        mode = (run_mode, from_shell, validate_sweep_overrides)
        parsed = OverridesParser.create().parse_overrides(overrides)
        values = [override for override in parsed if self._is_value(override)]
        if run_mode != RunMode.RUN or not values:
            return super().load_configuration(config_name, overrides, *mode)
        if validate_sweep_overrides:
            self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
        files = [str(override.input_line) for override in parsed if not self._is_value(override)]
        folders = tuple((path.provider, path.path) for path in self.config_search_path.get_path())
        key = (folders, config_name, *files)
        try:
            if key not in _composed:
                merged = super().load_configuration(config_name, files, run_mode, validate_sweep_overrides=False)
                _composed[key] = _copies(merged)
            config = _composed[key]()
            self._apply_overrides_to_config(values, config)
        except (ConfigCompositionException, OmegaConfBaseException):
            return super().load_configuration(config_name, overrides, *mode)  # with Hydra's own message
        own = [override for override in parsed if not override.is_hydra_override()]
        config.hydra.overrides.task = [override.input_line for override in own]
        config.hydra.job.override_dirname = get_overrides_dirname(own, **config.hydra.job.config.override_dirname)
        return config

    def _is_value(self, override: Override) -> bool:
        """Return whether an override sets one value that is there already, outside Hydra's own config."""
        key = override.key_or_group
        plain = override.type.name == "CHANGE" and override.package is None and not override.is_sweep_override()
        return plain and not override.is_hydra_override() and not self.repository.group_exists(key)


def _copies(config: DictConfig) -> Callable[[], DictConfig]:
    """Return a function that copies `config`: by pickle, which is ten times as fast as deepcopy, where that works."""
    try:
        return partial(pickle.loads, pickle.dumps(config))
    except pickle.PicklingError:  # in the processes of a launcher, where Hydra imports the launcher's classes twice
        return partial(copy.deepcopy, config)
