"""Questions to wells and maps that cannot answer them: what is missing, and how to get it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae.cli import run
from phenomae.wells import write_wells

FEATURES = ["x", "y", "z"]
SIX = [f"G{number % 6}" for number in range(36)]
CONTROLS = ["NTC"] * 12


@pytest.fixture
def poor(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes wells on two plates, with their genes; NTC are controls."""

    def write(genes: list[str | None], **columns: object) -> Path:
        count, rng = len(genes), np.random.default_rng(0)
        table = pl.DataFrame(
            {
                "plate": [f"P{row % 2}" for row in range(count)],
                "well": [f"{'ABCDEF'[row // 12]}{row % 12 + 1:02d}" for row in range(count)],
                "gene": pl.Series(genes, dtype=pl.String),
                "perturbation": pl.Series(genes, dtype=pl.String),
                "control": [gene == "NTC" for gene in genes],
                **{name: rng.normal(size=count) for name in FEATURES},
            }
        ).with_columns(**columns)
        write_wells(tmp_path / "wells", table, FEATURES)
        (tmp_path / "mechanisms.csv").write_text("compound,mechanism\nG0,m0\nG1,m0\nG2,m1\n")
        (tmp_path / "complexes.tsv").write_text("c1\tG0 G1 G2\n")
        (tmp_path / "pairs.csv").write_text("entity1,entity2\nTP53,MDM2\n")
        return tmp_path

    return write


SINGLE = [f"G{number}" for number in range(24)]
NO_NAME = "has no treated well with a perturbation: fill the column perturbation in the plate map"
NO_CONTROL = (
    "has 0 control wells, but at least {} are needed for the null distribution: set `control`"
)


@pytest.mark.parametrize(
    ("genes", "question", "sentence"),
    [
        (SIX, "signal", f"no consistency: {{0}}/wells {NO_CONTROL.format(2)}"),
        (SIX, "signal", f"no magnitude: {{0}}/wells {NO_CONTROL.format(10)}"),
        (SIX, "replicates", NO_CONTROL.format(1)),
        (
            SIX,
            "probe",
            "has no value in the column batch: fill it in the plate map, or set --leave-",
        ),
        (SIX, "mechanisms", "has no treated well with a compound: fill the column compound in the"),
        (
            SINGLE + CONTROLS,
            "signal",
            "at least 5 are needed: use more replicates, or a lower --min-",
        ),
        (
            SINGLE + CONTROLS,
            "replicates",
            "1 well per perturbation, but at least 2 are needed: use",
        ),
        (
            SINGLE + CONTROLS,
            "neighbours",
            "1 well per perturbation, but at least 2 are needed: use",
        ),
        *[
            (["NTC"] * 24, name, NO_NAME)
            for name in ("signal", "replicates", "neighbours", "probe")
        ],
        *[([None] * 24 + CONTROLS, name, NO_NAME) for name in ("signal", "neighbours", "probe")],
    ],
)
def test_wells_that_lack_what_a_question_needs(poor, capsys, genes, question, sentence):
    folder = poor(genes)
    before = sorted(folder.rglob("*"))
    words = ["ask", question, str(folder / "wells"), str(folder / "out")]
    if question == "mechanisms":
        words += ["--mechanisms", str(folder / "mechanisms.csv")]
    assert run(words) == 1
    assert sentence.format(folder) in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "ask complexes {0}/map.h5ad {0}/out --complexes {0}/complexes.tsv",
            "set --min-genes lower",
        ),
        ("ask enrichment {0}/map.h5ad {0}/out", "give annotations, complexes or mechanisms"),
        ("ask enrichment {0}/map.h5ad {0}/out --annotations {0}/pairs.csv", "names like G0, G1"),
        (
            "ask enrichment {0}/wells {0}/out",
            "is not a map but a folder: make a map of a folder of",
        ),
        ("benchmark {0}/wells {0}/out --annotations {0}/pairs.csv", "with phenomae map"),
        ("benchmark {0}/map.h5ad {0}/out --annotations {0}/none", "annotations fetch downloads"),
        ("benchmark {0}/map.h5ad {0}/out --annotations {0}/pairs.csv", "G0, G1"),
    ],
)
def test_maps_that_lack_what_a_question_needs(poor, capsys, words, sentence):
    folder = poor([f"G{number % 18}" for number in range(36)])
    made = ["map", str(folder / "wells"), str(folder / "map.h5ad"), "--by", "gene"]
    assert run([*made, "--through", "wells"]) == 0
    capsys.readouterr()
    before = sorted(folder.rglob("*"))
    assert run(words.format(folder).split()) == 1
    assert sentence in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before
