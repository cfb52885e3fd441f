"""What every explainer costs per image. The only table with times."""

import pandas as pd

from evident.cell_folder import COST
from evident.report.experiment import Experiment
from evident.report.sections.contract import Part, Section


class Cost(Section):
    """Report `cost`: seconds and passes per image, and the peak memory in bytes, of every cell."""

    def report(self, experiment: Experiment) -> Part:
        rows = []
        for cell in experiment.cells:
            if (cost := cell.folder.get(COST)) is None:
                continue
            images, memory = cost.pop("images"), cost.pop("peak_memory")
            per_image = {f"{name}_per_image": value / images for name, value in cost.items()}
            rows.append({**cell.labels, **per_image, "peak_memory": memory})
        return Part({"cost": pd.DataFrame(rows)} if rows else {})
