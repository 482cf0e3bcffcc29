"""`benchmark --wells`: recall by the mean cosine over pairs of wells that a tier allows."""

from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest

from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.map import MapSettings, map_wells
from phenomae.wells import write_wells

TIERS = ("any", "other-plate", "other-batch", "other-position")
COUNT = 40  # genes
GENES = [f"G{number:02d}" for number in range(COUNT)]
FEATURES = [f"x{number}" for number in range(6)]


def draw_screen(seed: int = 0) -> pl.DataFrame:
    """Return wells of 40 genes, 5 each, on 10 plates of 4 batches, and 20 control wells.

    Genes 0 and 1 are on plate P0 only.
    """
    rng = np.random.default_rng(seed)
    genes = np.append(np.repeat(np.arange(COUNT), 5), np.full(20, -1))
    plates = np.where((genes == 0) | (genes == 1), 0, rng.integers(10, size=len(genes)))
    rows: dict[str, list] = {"plate": [], "well": []}
    filled = {plate: iter(rng.permutation(96)) for plate in range(10)}
    for plate in plates:
        place = next(filled[plate])
        rows["plate"].append(f"P{plate}")
        rows["well"].append(f"{'ABCDEFGH'[place // 12]}{place % 12 + 1:02d}")
    table = pl.DataFrame(rows).with_columns(
        batch=pl.Series([f"B{plate // 3}" for plate in plates]),
        gene=pl.Series([GENES[gene] if gene >= 0 else None for gene in genes]),
        guide=pl.Series([f"{gene}_{number % 2}" for number, gene in enumerate(genes)]),
        control=pl.Series(genes < 0),
    )
    effect = rng.normal(size=(COUNT // 4 + 1, 6))[genes // 4]
    features = pl.from_numpy((effect + rng.normal(size=(len(genes), 6))).astype(np.float32))
    return table.hstack(features.rename(dict(zip(features.columns, FEATURES, strict=True))))


PAIRS = [(a, b) for a in range(COUNT) for b in range(a + 1, COUNT) if a // 4 == b // 4]


@pytest.fixture
def screen(tmp_path: Path) -> Path:
    write_wells(tmp_path / "wells", draw_screen(), FEATURES)
    map_wells(tmp_path / "wells", tmp_path / "map.h5ad")
    lines = ["entity1,entity2", *(f"{GENES[a]},{GENES[b]}" for a, b in PAIRS)]
    (tmp_path / "known.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "lone.csv").write_text("entity1,entity2\nG00,G01\n")
    return tmp_path


def run(screen: Path, **settings: object) -> pl.DataFrame:
    values = {"annotations": screen / "known.csv", "wells": screen / "wells", "resamples": 100}
    benchmark(
        screen / "map.h5ad",
        screen / "results",
        settings=BenchmarkSettings(**{**values, **settings}),
        overwrite=True,
    )
    return pl.read_csv(screen / "results/tiers.csv")


def brute_force(wells: pl.DataFrame, column: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean cosine of every two genes over their pairs of wells, NaN without any, and
    a number of its stratum, from the numbers of pairs of wells and of those left out."""
    features = wells.select(FEATURES).to_numpy().astype(float)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    if column:
        group = wells[column].to_numpy()
        cosines[group[:, None] == group] = np.nan
    gene = wells["gene"].fill_null("").to_numpy()
    means, stratum = np.full((2, COUNT, COUNT), np.nan)
    for a, b in np.argwhere(np.triu(np.ones((COUNT, COUNT)), k=1)):
        some = cosines[np.ix_(gene == GENES[a], gene == GENES[b])]
        stratum[a, b] = 1000 * some.size + np.isnan(some).sum()
        if not np.isnan(some).all():
            means[a, b] = np.nanmean(some)
    return means, stratum


@dataclass
class ByHand:
    """What tiers.csv has of one tier at 5 % + 5 %."""

    recall: float
    n_pairs: int
    all_left_out: int
    chance: float
    max_recall: float


def by_hand(means: np.ndarray, stratum: np.ndarray) -> ByHand:
    """Sort the pairs of genes into strata, and each stratum by its means."""
    known = np.zeros(means.shape, dtype=bool)
    known[tuple(np.transpose(PAIRS))] = True
    found = pairs = left = room_for = expected = 0
    for number in np.unique(stratum[~np.isnan(means)]):
        here = np.argwhere((stratum == number) & ~np.isnan(means))
        share = int(0.05 * len(here))
        if not share:
            continue
        ordered = here[np.argsort(means[tuple(here.T)])]
        in_tail = np.concatenate([ordered[:share], ordered[len(here) - share :]])
        of_stratum = known[tuple(here.T)].sum()
        left += len(here)
        pairs += of_stratum
        found += known[tuple(in_tail.T)].sum()
        room_for += min(of_stratum, 2 * share)
        expected += of_stratum * 2 * share / len(here)
    every = COUNT * (COUNT - 1) // 2
    return ByHand(found / pairs, pairs, every - left, expected / pairs, room_for / pairs)


def test_recall_of_each_tier_is_that_of_all_pairs_of_wells(screen, capsys):
    table = run(screen)
    assert table["tier"].to_list() == list(TIERS)
    columns = dict(zip(TIERS, (None, "plate", "batch", "well"), strict=True))
    wells = draw_screen()
    for row in table.iter_rows(named=True):
        wanted = by_hand(*brute_force(wells, columns[row["tier"]]))
        for name in ("recall", "chance", "max_recall"):
            assert row[name] == pytest.approx(getattr(wanted, name)), (row["tier"], name)
        assert (row["n_pairs"], row["left_out"]) == (wanted.n_pairs, len(PAIRS) - wanted.n_pairs)
        assert row["all_pairs"] == COUNT * (COUNT - 1) // 2
        assert row["all_left_out"] == wanted.all_left_out
        assert row["ci_low"] <= wanted.recall <= row["ci_high"]
        assert row["p"] is None
    assert table["all_left_out"][0] == 0
    assert table["all_left_out"][1:].min() > 0  # of the screen's small strata
    said = capsys.readouterr()
    assert f"tier other-plate leaves out {table['all_left_out'][1]} of 780 pairs" in said.err
    assert "other-position  known" in said.out


def test_wells_and_tiers_are_part_of_what_results_are(screen):
    run(screen, tiers=("other-plate",))
    settings = BenchmarkSettings(screen / "known.csv", wells=screen / "wells", resamples=100)
    with pytest.raises(ValueError, match="another setting: tiers = "):
        benchmark(screen / "map.h5ad", screen / "results", settings=settings)


def test_a_map_of_some_wells_is_measured_on_them(screen):
    made = MapSettings(where="plate != 'P1'")
    map_wells(screen / "wells", screen / "map.h5ad", settings=made, overwrite=True)
    table = run(screen, tiers=("other-plate",))
    wells = draw_screen().filter(pl.col("plate") != "P1")
    assert table["recall"][0] == pytest.approx(by_hand(*brute_force(wells, "plate")).recall)


def test_a_map_of_other_software_is_measured_by_gene(screen):
    write_bare_map(screen)
    table = run(screen, tiers=("any",))
    wanted = by_hand(*brute_force(draw_screen(), None))
    assert table["recall"][0] == pytest.approx(wanted.recall)


def test_a_source_without_a_pair_in_a_tier_is_passed_over(screen, capsys):
    (screen / "lists").mkdir()
    for name in ("known.csv", "lone.csv"):
        (screen / name).rename(screen / "lists" / name)
    table = run(screen, annotations=screen / "lists", resamples=0)
    rows = table.select("tier", "source").rows()
    assert rows.count(("any", "lone")) == rows.count(("other-position", "lone")) == 1
    assert len(rows) == 6
    assert "lone is skipped in tier other-batch" in capsys.readouterr().err
    assert table["ci_low"].is_null().all()


def write_map_of(screen: Path, wells: pl.DataFrame) -> None:
    write_wells(screen / "wells", wells, FEATURES, overwrite=True)
    map_wells(screen / "wells", screen / "map.h5ad", overwrite=True)


def test_tiers_that_leave_no_pair(screen):
    with pytest.raises(ValueError, match="tier other-plate leaves no known pair: no two genes"):
        run(screen, annotations=screen / "lone.csv")
    one = draw_screen().with_columns(batch=pl.lit("B1"))
    write_map_of(screen, one)
    with pytest.raises(
        ValueError, match="tier other-batch leaves no pair, because all wells have the same batch"
    ):
        run(screen)
    write_map_of(screen, one.with_columns(batch=pl.lit(None, pl.String)))
    with pytest.raises(ValueError, match="200 wells without a batch, which tier other-batch needs"):
        run(screen)
    assert run(screen, tiers=("any", "other-plate"))["tier"].to_list() == ["any", "other-plate"]


def test_a_tier_that_leaves_few_pairs(screen):
    some = pl.col("gene").is_in(["G04", "G05", "G06", "G07"])
    wells = draw_screen().filter(some)
    wells = wells.with_columns(
        batch=pl.when(pl.col("gene") == "G04").then(0).otherwise(1).cast(str)
    )
    write_map_of(screen, wells)
    with pytest.raises(
        ValueError,
        match=r"tier other-batch has at most 3 pairs of genes with as many pairs of wells left out "
        r"as a known pair, too few: 20 % is less than one pair; leave other-batch out of tiers",
    ):
        run(screen, tiers=("other-batch",), low=(0.2,), high=(0.8,))


def test_wells_that_will_not_do(screen):
    write_wells(screen / "others", draw_screen(1), FEATURES)
    with pytest.raises(ValueError, match=r"map.h5ad was not made from the wells .*others"):
        run(screen, wells=screen / "others")
    names = [*GENES, "X"]
    values = np.random.default_rng(0).normal(size=(len(names), 3)).astype(np.float32)
    anndata.AnnData(values, obs={"obs_names": names}).write_h5ad(screen / "other.h5ad")
    settings = BenchmarkSettings(screen / "known.csv", wells=screen / "wells")
    with pytest.raises(ValueError, match=r"wells has no well of 1 row of .*other.h5ad, like X"):
        benchmark(screen / "other.h5ad", screen / "results", settings=settings)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"tiers": ("other-plate",)}, "tiers are of pairs of wells: give wells"),
        ({"tiers": ("plate",), "wells": "W"}, "tiers must be one of any, other-plate, other-batch"),
        ({"tiers": ("any", "any"), "wells": "W"}, "tiers has any twice: give it once"),
        ({"tiers": (), "wells": "W"}, "tiers must have at least one tier, like other-plate"),
    ],
)
def test_settings_that_will_not_do(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        BenchmarkSettings("known.csv", **wrong)


def write_bare_map(screen: Path) -> None:
    """Write a map of other software, whose genes are all those of the screen."""
    values = np.random.default_rng(0).normal(size=(COUNT, 3)).astype(np.float32)
    anndata.AnnData(values, obs={"obs_names": GENES}).write_h5ad(screen / "map.h5ad")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("again", [False, True], ids=["new", "overwrite"])
def test_wells_without_a_direction_are_found_before_anything_is_written(screen, value, again):
    write_bare_map(screen)
    if again:
        run(screen)
    before = sorted(path.name for path in screen.rglob("*"))
    wells = draw_screen()
    fourth = (pl.int_range(pl.len()) == 3).and_(~pl.col("control"))
    wells = wells.with_columns(
        pl.when(fourth).then(value).otherwise(name).cast(pl.Float32).alias(name)
        for name in FEATURES
    )
    write_wells(screen / "wells", wells, FEATURES, max_missing=None, overwrite=True)
    place = wells.row(3, named=True)
    sentence = (
        rf"wells has 1 well with a profile that is NaN, infinite or all 0 and has no cosine, "
        rf"first plate {place['plate']}, well {place['well']}: leave them out"
    )
    with pytest.raises(ValueError, match=sentence):
        run(screen)
    after = sorted(path.name for path in screen.rglob("*"))
    assert [name for name in after if "artefact" not in name] == [
        name for name in before if "artefact" not in name
    ]
    assert not (screen / "results.partial").exists()
    assert (screen / "results").exists() == again


def test_wells_that_are_not_on_the_map_may_have_no_direction(screen):
    write_bare_map(screen)
    wanted = run(screen)
    wells = draw_screen().with_columns(
        pl.when("control").then(np.nan).otherwise(name).cast(pl.Float32).alias(name)
        for name in FEATURES
    )
    write_wells(screen / "wells", wells, FEATURES, max_missing=None, overwrite=True)
    assert run(screen).equals(wanted)


def test_results_that_are_there_are_found_without_the_profiles_of_wells(screen, capsys, resign):
    first = run(screen)
    printed = capsys.readouterr().out
    settings = BenchmarkSettings(screen / "known.csv", wells=screen / "wells", resamples=100)
    for path in (screen / "wells").glob("*.parquet"):
        records = pl.read_parquet(path)
        records.with_columns(pl.lit(np.nan, pl.Float32).alias("feature_0000")).write_parquet(path)
    resign(screen / "wells")
    benchmark(screen / "map.h5ad", screen / "results", settings=settings)
    assert capsys.readouterr().out == printed
    assert pl.read_csv(screen / "results/tiers.csv").equals(first)


def test_a_plate_of_one_gene_leaves_out_nothing(screen):
    wells = draw_screen().with_columns(pl.col("gene").fill_null("none").alias("plate"))
    wells = wells.with_columns(
        well=pl.format("A{}", pl.int_range(pl.len()).over("plate").add(1).cast(str).str.zfill(2))
    )
    write_map_of(screen, wells)
    table = run(screen, tiers=("any", "other-plate"))
    assert table["all_left_out"].to_list() == [0, 0]
    assert table["recall"][0] == table["recall"][1]


def test_a_screen_of_one_plate(screen):
    wells = draw_screen().head(90).with_columns(plate=pl.lit("P0"))
    wells = wells.with_columns(well=pl.format("A{}", pl.int_range(pl.len()) + 1))
    write_map_of(screen, wells)
    with pytest.raises(
        ValueError, match="tier other-plate leaves no pair, because all wells have the same plate"
    ):
        run(screen, tiers=("other-plate",))
    wells = wells.with_columns(
        plate=pl.format("P{}", pl.int_range(pl.len()) + 1), well=pl.lit("A01")
    )
    write_map_of(screen, wells)
    with pytest.raises(
        ValueError, match="tier other-position leaves no pair, because all wells have the same pos"
    ):
        run(screen, tiers=("other-position",))


def test_a_tier_that_can_recall_few_pairs_says_so(screen, capsys):
    # The wells of a complex share all positions, so that they alone leave out so many pairs.
    genes = np.repeat(np.arange(COUNT), 4)
    rows = np.tile(list("ABCD"), COUNT)
    wells = pl.DataFrame({"plate": [f"P{gene:02d}" for gene in genes], "control": False})
    wells = wells.with_columns(
        pl.Series(
            "well", [f"{row}{gene // 4 + 1:02d}" for row, gene in zip(rows, genes, strict=True)]
        ),
        pl.Series("gene", [GENES[gene] for gene in genes]),
        pl.Series("guide", [f"{gene}_{row}" for row, gene in zip(rows, genes, strict=True)]),
    )
    features = np.random.default_rng(5).normal(size=(len(genes), 6)).astype(np.float32)
    write_map_of(screen, wells.hstack(pl.from_numpy(features, FEATURES)))
    table = run(screen, tiers=("other-position",))
    # Tails of 5 % + 5 % of the 60 known pairs, which are a stratum, have 3 pairs each.
    assert table.select("recall", "chance", "max_recall").row(0) == pytest.approx((0.1, 0.1, 0.1))
    assert (
        "tier other-position can recall at most 0.1 of the known pairs of known: the tails have "
        "room for fewer of the pairs with as many pairs of wells"
    ) in capsys.readouterr().err
