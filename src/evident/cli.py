"""From the command line to a task: resolvers of the config, logging, and errors in one line."""

import difflib
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, MissingConfigException
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException
from rich.logging import RichHandler

from evident.errors import UserError, unwritable
from evident.progress import bars, console
from evident.quoting import quoted
from evident.store import STORE

SUBMITIT = ("hydra/launcher/submitit_local", "hydra/launcher/submitit_slurm")  # of the extra `cluster`
LOST_WORKER = ("TerminatedWorkerError", "UncompletedJobError")  # what joblib and submitit raise
UNWRITABLE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES)
ROOT = Path(__file__).parents[2]


def composed(*overrides: str) -> DictConfig:
    """Compose the config that `python run.py` would have for one cell with these overrides; for notebooks and scripts.

    Data and store are in the project's folder, whatever the working directory, unless the environment names others.
    """
    prepare()
    places = {"EVIDENT_DATA": f"paths.data={ROOT / 'data'}", "EVIDENT_STORE": f"paths.store={ROOT / 'runs'}"}
    own = [place for name, place in places.items() if name not in os.environ]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", [*own, *overrides])


def enter(main: Callable[[], None]) -> None:
    """Run Hydra's `main`; an error caused by the user becomes one line and exit code 1."""
    prepare()
    sys.argv[1:] = quoted(sys.argv[1:])
    # Without it Hydra prints several lines of its own and exits before the error can be shown in one line.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        main()
    except Exception as error:
        if type(error).__name__ in LOST_WORKER:
            why = " ".join(" ".join(str(error).splitlines()[:2]).split())
            sys.exit(
                f"a worker was lost ({why}): finished cells are kept, jobs of a cluster go on, and the same command "
                "computes the rest and writes the report"
            )
        if not is_of_hydra(error):
            raise
        sys.exit(one_line(error))
    except (KeyboardInterrupt, SystemExit) as end:
        # Lightning turns an interrupt into an exit.
        if isinstance(end, KeyboardInterrupt) or isinstance(end.__context__, KeyboardInterrupt):
            sys.exit("stopped; the same command continues from here")
        raise
    finally:
        bars.stop()  # restores the cursor of the terminal


def is_of_hydra(error: Exception) -> bool:
    """Return whether Hydra or OmegaConf refused something; some overrides, as `model=0`, by plain errors."""
    *_, (last, _) = traceback.walk_tb(error.__traceback__)
    plain = last.f_globals["__name__"].startswith(("hydra.", "omegaconf."))
    return plain or isinstance(error, HydraException | OmegaConfBaseException)


def run_task(config: DictConfig) -> None:
    """Run the configured task; an error caused by the user ends the process with one line."""
    prepare()  # the workers of a parallel launcher have not passed through `enter`
    try:
        # `experiment=all` runs the task of every experiment by a command of its own.
        instantiate(config.get("all", config.task))(config)
    except (UserError, OmegaConfBaseException) as error:
        # Hydra would print lines of its own before an exception, but not before an exit.
        sys.exit(one_line(error))


def prepare() -> None:
    """Register the config's resolver and set up logging; safe to call twice."""
    # `${call:package.function,argument}` calls a function of any package, so a data set needs no entry here.
    OmegaConf.register_new_resolver("call", lambda target, *given: get_method(target)(*given), replace=True)
    handler: logging.Handler = logging.StreamHandler()
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False)
    log = logging.getLogger("evident")
    log.handlers = [handler]
    log.setLevel(logging.INFO)


def _reasons(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the exceptions that led to `error`, the first one first: OmegaConf wraps what its resolvers raise."""
    if error is not None:
        yield from _reasons(error.__cause__ or error.__context__)
        yield error


def one_line(error: Exception) -> str:
    """Return one line that says what was given and what is allowed, for an error of Evident, Hydra or OmegaConf."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        if error.missing_cfg_file in SUBMITIT:
            name = error.missing_cfg_file.rpartition("/")[2]
            return f"hydra/launcher={name} needs hydra-submitit-launcher; run pip install '.[cluster]'"
        # Groups of Hydra's own have two parts: hydra/launcher.
        own = error.missing_cfg_file.startswith("hydra/")
        group, _, given = (str.rpartition if own else str.partition)(error.missing_cfg_file, "/")
        folder = given.rpartition("/")[0]
        names = error.options or ()
        if folder:  # Hydra lists the files of the group only
            names = sorted(f"{folder}/{file.stem}" for file in (ROOT / "conf" / group / folder).glob("*.yaml"))
        nearest = difflib.get_close_matches(given, names, 1)
        asked = f", perhaps {nearest[0]}" if nearest else ""
        return (
            f"{group}={given} is unknown{asked}; use {' '.join(names) or f'one of conf/{group}/*.yaml'}; files of your "
            "own need hydra.searchpath=[file://DIR/conf]"
        )
    # Hydra writes its own config to the store before anything else.
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return unwritable(error.filename, STORE, error)
    for reason in _reasons(error):
        if isinstance(reason, UserError):
            return str(reason)
        key = str(reason).split("\n")[0].removeprefix("Missing mandatory value: ")
        if isinstance(reason, MissingMandatoryValue) and "$" not in key:  # OmegaConf fills in $FULL_KEY later
            return f"{key} is not given; add {key}=..."
    cause = error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        parent = cause.parent_node
        known = sorted(map(str, parent)) if isinstance(parent, DictConfig) else []
        return f"{cause.full_key} is not a key of the config; use one of {' '.join(known)}"
    text = str(error) if cause is None or str(cause) in str(error) else f"{error} {cause}"
    for missing in (reason.name for reason in _reasons(error) if isinstance(reason, ModuleNotFoundError)):
        text += f" If {missing} is code of your own, add its folder to PYTHONPATH."
    return " ".join(text.split())
