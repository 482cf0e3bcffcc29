"""The commands `ask ...`, on one screen of genes and compounds whose truth is planted."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae.cli import run
from phenomae.evaluation.questions.complexes import ComplexSettings
from phenomae.wells import write_wells

GENES, COMPOUNDS, FEATURES = 24, 6, 16


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wells, maps and tables: 8 complexes of 3 genes; a compound acts on a complex."""
    folder = tmp_path_factory.mktemp("asked")
    rng = np.random.default_rng(0)
    axes = 4 * rng.normal(size=(8, FEATURES))
    names = [f"G{number:02d}" for number in range(GENES)]
    things = [(name, None, None, axes[number // 3]) for number, name in enumerate(names)]
    things += [
        (None, f"c{number}", dose, effect * axes[number // 2])
        for number in range(COMPOUNDS)
        for dose, effect in ((0.1, 0.0), (1.0, -1.0))
    ]
    things += [(None, None, None, np.zeros(FEATURES))] * 12
    rows, vectors = [], []
    for plate in ("P1", "P2", "P3", "P4"):
        for at, (gene, compound, dose, vector) in enumerate(things * 2):
            control = gene is None and compound is None
            rows.append(
                (
                    plate,
                    f"{'ABCDEFGH'[at // 12]}{at % 12 + 1:02d}",
                    plate,
                    gene,
                    compound,
                    dose,
                    control,
                )
            )
            vectors.append(vector + rng.normal(size=FEATURES))
    columns = ["plate", "well", "batch", "gene", "compound", "concentration_um", "control"]
    table = pl.DataFrame(rows, schema=columns, orient="row").with_columns(
        perturbation=pl.coalesce("gene", "compound", pl.lit("none"))
    )
    features = [f"f{number}" for number in range(FEATURES)]
    table = pl.concat([table, pl.DataFrame(np.array(vectors), schema=features)], how="horizontal")
    write_wells(folder / "wells", table, features)
    noise = table.with_columns(pl.Series(name, rng.normal(size=len(table))) for name in features)
    (folder / "blocks").mkdir()
    write_wells(folder / "blocks" / "block-01", noise, features)
    write_wells(folder / "blocks" / "block-02", table, features)
    for by in ("gene", "dose"):
        words = f"map {folder}/wells {folder}/{by}.h5ad --by {by} --through wells"
        assert run(words.split()) == 0
    lines = [f"complex {k}\t{' '.join(names[3 * k : 3 * k + 3])}" for k in range(8)]
    (folder / "complexes.tsv").write_text("\n".join(lines) + "\n")
    acts = [f"c{k},{names[3 * (k // 2) + j]},0.5" for k in range(COMPOUNDS) for j in range(3)]
    acts += [f"other,{name},100" for name in names]
    (folder / "potencies.csv").write_text("\n".join(["compound,gene,activity_um", *acts]) + "\n")
    acting = [f"c{k},m{k // 2}" for k in range(COMPOUNDS)]
    (folder / "mechanisms.csv").write_text("\n".join(["compound,mechanism", *acting]) + "\n")
    return folder


ASKED = {
    "signal": ("signal {0}/wells {1} --by gene", ["signal.csv", "active.csv"]),
    "replicates": (
        "replicates {0}/wells {1} --by gene --plates any",
        ["activity.csv", "retrieved.csv"],
    ),
    "neighbours": (
        "neighbours {0}/wells {1} --by gene --tiers any other-plate other-position",
        ["neighbours.csv", "names.csv"],
    ),
    "enrichment": (
        "enrichment {0}/gene.h5ad {1} --complexes {0}/complexes.tsv --top 0.05 --shuffle 20",
        ["enriched.csv", "pairs.csv", "genes.csv"],
    ),
    "complexes": (
        "complexes {0}/gene.h5ad {1} --complexes {0}/complexes.tsv --min-genes 3 --shuffle 5",
        ["complexes.csv", "apart.csv"],
    ),
    "compounds": (
        "compounds {0}/gene.h5ad {0}/dose.h5ad {1} --potencies {0}/potencies.csv",
        ["compounds.csv", "means.csv"],
    ),
    "mechanisms": (
        "mechanisms {0}/wells {1} --mechanisms {0}/mechanisms.csv --shuffle 50",
        ["mechanisms.csv", "confusion.csv", "compounds.csv"],
    ),
    "probe": ("probe {0}/blocks {1} --by gene", ["blocks.csv", "predictions.csv"]),
}


@pytest.mark.parametrize("question", ASKED)
def test_a_question_is_answered_once_and_the_same_way(asked, question, tmp_path, capsys):
    words, files = ASKED[question]
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        assert run(["ask", *words.format(asked, out).split()]) == 0
    printed = capsys.readouterr().out
    made = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert {Path(name) for name in files} < made
    for path in made:
        assert (one / path).read_bytes() == (two / path).read_bytes()
    assert run(["ask", *words.format(asked, one).split()]) == 0
    again = capsys.readouterr()
    assert "already there" in again.err
    assert 2 * again.out == printed


def test_bad_input_leaves_no_folder(tmp_path, capsys):
    # A plate of one gene each, which is known only when the wells are read.
    wells = [(f"P{gene}", f"A0{well + 1}", f"g{gene}") for gene in range(3) for well in range(3)]
    table = pl.DataFrame(wells, ["plate", "well", "gene"], orient="row").with_columns(
        control=pl.lit(False), one=pl.int_range(9).cast(float), two=1.0
    )
    write_wells(tmp_path / "wells", table, ["one", "two"])
    words = "neighbours {0}/wells {0}/out --by gene --tiers other-plate"
    assert run(["ask", *words.format(tmp_path).split()]) == 1
    assert "tier other-plate leaves no pair" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["wells"]


def table(asked: Path, question: str, tmp_path: Path, name: str, more: str = "") -> pl.DataFrame:
    words = f"{ASKED[question][0]} {more}".format(asked, tmp_path / "out")
    assert run(["ask", *words.split()]) == 0
    return pl.read_csv(tmp_path / "out" / name)


def test_every_planted_gene_is_active(asked, tmp_path):
    active = table(asked, "signal", tmp_path, "active.csv")
    assert active.select("measure", "perturbations", "active").rows() == [
        ("consistency", GENES, 1),
        ("magnitude", GENES, 1),
    ]


def test_replicates_of_a_gene_find_each_other_among_controls(asked, tmp_path):
    retrieved = table(asked, "replicates", tmp_path, "retrieved.csv")
    assert retrieved["names"].to_list() == [GENES]
    assert retrieved["retrieved"].to_list() == [1]


def test_every_planted_complex_stands_apart_and_is_drawn(asked, tmp_path):
    apart = table(asked, "complexes", tmp_path, "apart.csv")
    assert apart.select("complexes", "apart").row(0) == (8, 1)
    assert apart["shuffled"][0] < 0.2
    drawn = (tmp_path / "out" / "figures" / "complexes.svg").read_text()
    assert all(f"complex {number}" in drawn for number in range(8))
    assert "G23" in drawn


def test_only_the_complexes_asked_for_are_drawn(asked, tmp_path, capsys):
    words = ["ask", *ASKED["complexes"][0].format(asked, tmp_path / "out").split(), "--show"]
    assert run([*words, "complex 5", "complex 1"]) == 0
    drawn = (tmp_path / "out" / "figures" / "complexes.svg").read_text()
    assert "complex 5" in drawn
    assert "complex 0" not in drawn
    assert run([*words, "complex 9", "--overwrite"]) == 1
    assert "show complex 9: there is no complex of that name" in capsys.readouterr().err
    assert (tmp_path / "out" / "figures" / "complexes.svg").read_text() == drawn


def test_compounds_look_opposite_to_their_genes_at_the_dose_that_acts(asked, tmp_path):
    means = table(asked, "compounds", tmp_path, "means.csv")
    by_dose = dict(
        means.filter(~pl.col("best")).select("concentration_um", "average_precision").rows()
    )
    assert by_dose[1.0] > 0.95
    assert by_dose[0.1] < 0.6
    assert means.filter(pl.col("best"))["compounds"].to_list() == [COMPOUNDS]


def test_neighbours_of_acting_compounds_have_their_mechanism(asked, tmp_path):
    found = table(asked, "mechanisms", tmp_path, "mechanisms.csv")
    # Half of the profiles are of a dose that does nothing, and are right by chance, which is .2.
    assert found["match"].to_list() == ["nsc", "nscb"]
    assert (found["accuracy"] > 0.5).all()
    assert (found["p"] < 0.05).all()


def test_replicates_and_complexes_are_found(asked, tmp_path):
    rates = table(asked, "neighbours", tmp_path, "neighbours.csv")
    assert rates["tier"].to_list() == ["any", "other-plate", "other-position"]
    # The three genes of a complex are alike: at most a third of the nearest wells are right.
    assert (rates["rate"] > 3 * rates["chance"]).all()
    assert (rates["p"] < 0.01).all()
    found = table(asked, "enrichment", tmp_path, "enriched.csv", "--overwrite").row(0, named=True)
    assert (found["source"], found["genes"]) == ("complexes", 24)
    # 24 known pairs are all but those of the 13 most similar of 276 pairs.
    assert found["odds_ratio"] > 100
    assert found["gene_odds_ratio"] > 2 * found["gene_chance"]


def test_the_block_that_tells_genes_apart_is_named(asked, tmp_path, capsys):
    blocks = table(asked, "probe", tmp_path, "blocks.csv")
    assert blocks["block"].to_list() == [1, 2]
    assert blocks["best"].to_list() == [False, True]
    assert blocks["accuracy"][0] < 0.1
    assert "block 2 has the highest accuracy: use embed --block 2" in capsys.readouterr().err
    assert "block 2: " in (tmp_path / "out" / "figures" / "blocks.svg").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("complexes {0}/gene.h5ad {1} --complexes {0}/none.tsv", "none.tsv: there is no such file"),
        ("complexes {0}/wells {1} --complexes {0}/complexes.tsv", "is not a map"),
        ("signal {0}/gene.h5ad {1}", "holds no wells"),
        ("enrichment {0}/gene.h5ad {1}", "needs known pairs: give annotations, complexes or"),
        ("neighbours {0}/wells {1} --by guide", "has no treated well with a guide"),
        ("replicates {0}/wells {1} --by gene --tiers other-plate", "need plates any"),
        ("compounds {0}/gene.h5ad {0}/dose.h5ad {1} --potencies {0}/mechanisms.csv", "lacks the"),
        ("mechanisms {0}/wells {1} --mechanisms {0}/potencies.csv", "mechanism"),
        ("probe {0}/wells {1} --leave-out sites", "sites"),
        ("probe {0}/wells {1} --leave-out plate week", "--leave-out week: "),
        ("probe {0}/wells {1} --by mechanism", "by mechanism needs mechanisms: name a file"),
        ("probe {0}/wells {1} --by mechanism --mechanisms {0}/none.csv", "there is no such file"),
    ],
)
def test_what_cannot_be_asked(asked, tmp_path, capsys, words, sentence):
    assert run(["ask", *words.format(asked, tmp_path / "out").split()]) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"shuffle": -1}, "shuffle must be at least 0, not -1"),
    ],
)
def test_shuffles_that_will_not_do(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        ComplexSettings(Path("complexes"), **wrong)
