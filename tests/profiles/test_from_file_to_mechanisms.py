"""A table like BBBC021's goes from file to mechanisms by the three commands of docs/import.md."""

import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae import cli

PAGE = Path(__file__).parents[2] / "docs/import.md"
MECHANISMS = ["Actin disruptors", "Aurora kinase inhibitors", "DNA damage", "Eg5 inhibitors"]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """profiles.csv of 12 compounds of 4 mechanisms at 3 concentrations, and mechanisms.csv."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(9)
    effects = rng.normal(size=(4, 500))
    rows, values = [], []
    for week in (1, 2):
        for plate in range(2):
            shift = rng.normal(size=500) * 3
            for index in range(48):
                compound, dose = divmod(index, 3)
                treated = compound < 12
                rows.append(
                    {
                        "Metadata_Plate": f"Week{week}_{plate}",
                        "Metadata_Well": f"{'BCDE'[index // 12]}{index % 12 + 1:02d}",
                        "Metadata_Week": f"Week{week}",
                        "Metadata_Compound": f"compound {compound}" if treated else "DMSO",
                        "Metadata_Concentration": [0.1, 1.0, 10.0][dose] if treated else 0.0,
                        "Metadata_MoA": MECHANISMS[compound % 4] if treated else "DMSO",
                    }
                )
                effect = effects[compound % 4] * (dose + 1) if treated else 0
                values.append(shift + effect + rng.normal(size=500))
    names = [f"{('Cells', 'Cytoplasm', 'Nuclei')[at % 3]}_Texture_{at}" for at in range(500)]
    table = pl.DataFrame(rows)
    features = pl.from_numpy(np.array(values), schema=names, orient="row")
    pl.concat([table, features], how="horizontal").write_csv(tmp_path / "profiles.csv")
    treated = table.filter(pl.col("Metadata_Compound") != "DMSO").unique("Metadata_Compound")
    treated.select(compound="Metadata_Compound", mechanism="Metadata_MoA").write_csv(
        tmp_path / "mechanisms.csv"
    )
    return tmp_path


def test_three_commands(folder):
    text = PAGE.read_text()
    block = re.search(r"## From a file to mechanisms\n.*?```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    commands = block[1].replace("\\\n", " ").strip().splitlines()
    assert len(commands) == 3
    for command in commands:
        assert cli.run(shlex.split(command, comments=True)[1:]) == 0
    found = pl.read_csv(folder / "answer/mechanisms.csv")
    row = found.filter(match="nsc").row(0, named=True)
    assert row["accuracy"] > 0.9  # the effects of a mechanism are the same; chance is about .25
    assert row["p"] < 0.01
