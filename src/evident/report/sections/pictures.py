"""Every kept image under every explainer, with what the network says of it."""

import pandas as pd

from evident.cell_folder import EXAMPLES, OUTCOMES
from evident.report.captions import outcome_caption, sample_of, short
from evident.report.experiment import Experiment
from evident.report.figures.examples import examples_figure
from evident.report.sections.contract import Part, Section


class Pictures(Section):
    """Report `outcomes`, and draw the images, `on_a_sheet` at a time, of the first seed of each network."""

    def __init__(self, on_a_sheet: int = 10) -> None:
        self.on_a_sheet = on_a_sheet

    def report(self, experiment: Experiment) -> Part:
        part, tables = Part(), []
        for network in experiment.networks():
            cells = [cell for cell in network.first_seed() if cell.folder.has(OUTCOMES)]
            if not cells:
                continue
            # The network says the same whatever the explainer.
            outcomes = cells[0].folder.read(OUTCOMES).fillna({"label": ""})
            tables.append(outcomes.assign(data=network.data, model=network.model))
            kept = {
                experiment.titles[cell.labels["explainer"]]: cell.folder.read(EXAMPLES)
                for cell in cells
                if cell.folder.has(EXAMPLES)
            }
            count = min((len(examples["images"]) for examples in kept.values()), default=0)
            for start in range(0, count, self.on_a_sheet):
                end = min(start + self.on_a_sheet, count)
                sheet = {
                    name: {key: values[start:end] for key, values in examples.items()}
                    for name, examples in kept.items()
                }
                name = f"pictures_{start + 1:03}_{end:03}{network.suffix}"
                part.figures[name] = examples_figure(
                    sheet,
                    [f"{short(row['image'])}\n{outcome_caption(row)}" for _, row in outcomes[start:end].iterrows()],
                )
                part.captions[name] = f"Images {start + 1} to {end}. {sample_of(experiment, cells, end - start)}"
        if tables:
            part.tables["outcomes"] = pd.concat(tables, ignore_index=True)
        return part
