"""The audit of an experiment's networks as a table."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from evident.contracts import ChangesEvidence
from evident.data.loading import base_config
from evident.errors import UserError
from evident.models.audit import audit
from evident.models.training import NetworkSpec, trained


def run(config: DictConfig) -> None:
    """Audit the networks of the configured data set and model, one for each of `audit.seeds`, and write the table.

    Networks that the store does not have yet are trained. The table is `audit/DATA.csv` in the folder of the results,
    and is printed. Raises `UserError` for a data set whose evidence cannot be changed.
    """
    rows = []
    for seed in map(int, str(config.audit.seeds).split(",")):
        own = config.copy()
        own.seed = own.network_seed = seed
        spec = NetworkSpec.of(own)
        splits = spec.load_data()
        if not isinstance(splits, ChangesEvidence):
            name = base_config(config).data.name
            raise UserError(f"data={name} cannot show other evidence; task=audit needs rendered flowers")
        network = trained(spec, [])
        found = audit(network.network, splits.changed_images(), len(network.classes))
        names = {"data": spec.config.data.name, "model": spec.config.model.name, "seed": seed, "network": network.hash}
        rows.append({**names, **asdict(found), "passed": found.passed})
    table = pd.DataFrame(rows)
    file = Path(config.paths.results) / "audit" / f"{rows[0]['data']}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(file, index=False, float_format="%.6g", lineterminator="\n")
    print(table.to_string(index=False))
