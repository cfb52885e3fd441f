"""The audits of networks, kept in the store: for `task=audit` and for the reports of experiments."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from evident.contracts import ChangesEvidence
from evident.data.loading import base_config
from evident.errors import UserError
from evident.models.audit import Audit, audit
from evident.models.training import NetworkSpec, trained
from evident.store import artefact, is_whole, location

AUDIT_FORMAT = 1  # increase it when an audit of the same network would give other numbers


def run(config: DictConfig) -> None:
    """Audit the networks of the configured data set and model, one for each of `audit.seeds`, and write the table.

    Networks that the store does not have yet are trained. The table is `audit/DATA.csv` in the folder of the results,
    and is printed. Raises `UserError` for a data set whose evidence cannot be changed.
    """
    rows = []
    for seed in map(int, str(config.audit.seeds).split(",")):
        own = config.copy()
        own.seed = own.network_seed = seed
        trained(NetworkSpec.of(own), [])
        row = audited(own)
        if row is None:
            name = base_config(config).data.name
            raise UserError(f"data={name} cannot show other evidence; task=audit needs rendered flowers")
        rows.append(row)
    table = pd.DataFrame(rows)
    file = Path(config.paths.results) / "audit" / f"{rows[0]['data']}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(file, index=False, float_format="%.6g", lineterminator="\n")
    print(table.to_string(index=False))


def audited(config: DictConfig) -> dict[str, Any] | None:
    """Return data, model, seed and hash (`network`) of the configured network, the fields of its `Audit`, and `passed`.

    A network that is not in the store has not passed, and no shares. None for a data set whose evidence cannot be
    changed, and for published weights.
    """
    spec = NetworkSpec.of(config)
    if spec.published or not isinstance(splits := spec.load_data(), ChangesEvidence):
        return None
    root = Path(config.paths.store)
    folder = location(root, "models", spec.identity)
    names = {"data": spec.config.data.name, "model": spec.config.model.name, "seed": spec.config.network_seed}
    names["network"] = folder.name
    if not is_whole(folder):
        return {**names, "passed": False}

    def make(path: Path) -> None:
        network = trained(spec, [])
        found = audit(network.network, splits.changed_images(), len(network.classes))
        (path / "audit.json").write_text(json.dumps(asdict(found), indent=1))

    file = artefact(root, "audits", {"format": AUDIT_FORMAT, "network": folder.name}, make) / "audit.json"
    known = Audit(**json.loads(file.read_text()))
    return {**names, **asdict(known), "passed": known.passed}
