"""Entry point: `python run.py [experiment=NAME] [scale=smoke|quick|paper] [task=sweep|report|explain|benchmark]`."""

import hydra
from omegaconf import DictConfig

from evident import cli


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    cli.run_task(config)


if __name__ == "__main__":
    cli.enter(main)
