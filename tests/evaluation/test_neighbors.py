"""Neighbors of names on a map: those of scikit-learn, with p-values by their formula."""

import re
import tracemalloc

import numpy as np
import polars as pl
import pytest
from scipy.stats import false_discovery_control
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from phenomae import (
    CorrectSettings,
    cli,
    correct,
    map_wells,
    neighbors,
    read_map,
    write_wells,
)
from phenomae.evaluation.neighbors.finder import NeighborFinder
from phenomae.evaluation.neighbors.neighbors import NeighborsSettings
from phenomae.evaluation.neighbors.partners import list_partners
from phenomae.evaluation.questions.signal import SignalSettings, measure_signal
from phenomae.maps import nearest as searching
from phenomae.maps.map import MapSettings
from phenomae.maps.nearest import highest_cosines
from phenomae.maps.unit_vectors import unit_rows
from phenomae.wells import read_wells


def write(folder, table, values):
    features = pl.from_numpy(np.asarray(values, dtype=np.float32), orient="row")
    return write_wells(folder, pl.concat([table, features], how="horizontal"), features.columns)


def own(unit):
    return np.arange(len(unit))


@pytest.mark.parametrize(
    ("rows", "width", "k"), [(3, 2, 2), (50, 7, 20), (700, 24, 5), (900, 3, 40)]
)
@pytest.mark.parametrize("block", [None, 64])
def test_they_are_those_of_scikit_learn(rows, width, k, block, monkeypatch):
    if block is not None:  # many blocks of rows and profiles
        monkeypatch.setattr(searching, "ROWS", block)
        monkeypatch.setattr(searching, "SIDE", block)
    features = np.random.default_rng(rows).normal(size=(rows, width))
    unit = unit_rows(features)
    judge = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(features)
    distances, wanted = judge.kneighbors()
    ids, cosines = highest_cosines(unit, unit, k, own(unit))
    np.testing.assert_array_equal(ids, wanted)
    np.testing.assert_allclose(cosines, 1 - distances, atol=1e-12)
    farthest, opposite = highest_cosines(-unit, unit, k, own(unit))
    full = unit @ unit.T
    np.fill_diagonal(full, np.inf)
    np.testing.assert_array_equal(farthest, np.argsort(full, axis=1)[:, :k])
    np.testing.assert_allclose(-opposite, np.sort(full, axis=1)[:, :k], atol=1e-12)
    both = searching.compare_all(unit, k)
    for found, expected in zip(both, ((ids, cosines), (farthest, opposite)), strict=True):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], atol=1e-12)


def test_differences_below_float32_decide(monkeypatch):
    """Rows that float32 cannot tell apart are ordered by their cosines in float64."""
    monkeypatch.setattr(searching, "ROWS", 16)
    angles = np.append(0, np.random.default_rng(0).permutation(np.arange(1, 60)) * 3e-6 + 0.5)
    unit = np.column_stack([np.cos(angles), np.sin(angles)])
    ids, _ = highest_cosines(unit[:1], unit, 10, np.array([0]))
    assert ids[0].tolist() == np.argsort(angles)[1:11].tolist()


@pytest.mark.parametrize(("block", "many"), [(16, 0.25), (16, 0.1), (2048, 0.25)])
def test_equal_rows_are_in_the_order_of_the_map(block, many, monkeypatch):
    """A fifth of all pairs are equal: more than a tenth are computed in float64 alone."""
    monkeypatch.setattr(searching, "_MANY", many)
    monkeypatch.setattr(searching, "ROWS", block)
    monkeypatch.setattr(searching, "SIDE", block)
    features = np.random.default_rng(0).normal(size=(5, 4))[np.arange(100) % 5]
    unit = unit_rows(features)
    ids, cosines = highest_cosines(unit, unit, 19, own(unit))
    [(every, _)] = searching.compare_all(unit, 19, (1.0,))
    np.testing.assert_array_equal(every, ids)
    for row in range(100):
        assert ids[row].tolist() == [other for other in range(row % 5, 100, 5) if other != row]
    np.testing.assert_allclose(cosines, 1)


@pytest.mark.parametrize(("rows", "width", "numbers"), [(500, 64, 1 << 17), (40, 30, 100)])
def test_rows_that_are_alike_take_little_memory(rows, width, numbers, monkeypatch):
    """In float32 all rows are candidates; copies of them for each profile would take 130 MB."""
    monkeypatch.setattr(searching, "_NUMBERS", numbers)
    rng = np.random.default_rng(1)
    unit = unit_rows(rng.normal(size=width) + 1e-4 * rng.normal(size=(rows, width)))
    searching.compare_all(unit, 5, (1.0,))  # imports
    tracemalloc.start()
    [(ids, cosines)] = searching.compare_all(unit, 10, (1.0,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32e6
    full = unit @ unit.T
    np.fill_diagonal(full, -2)
    expected = np.argsort(-full.round(9), axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_allclose(cosines, np.take_along_axis(full, expected, 1), atol=1e-15)


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """Thirty genes of three wells on three plates, in groups of three that are alike."""
    folder = tmp_path_factory.mktemp("screen")
    rng = np.random.default_rng(5)
    effects = np.repeat(rng.normal(size=(10, 16)), 3, axis=0)
    rows, values = [], []
    for plate in range(3):
        for gene in range(30):
            rows.append(
                (f"P{plate}", f"{'ABCDEFGH'[gene // 12]}{gene % 12 + 1:02d}", f"G{gene:02d}")
            )
            values.append(effects[gene] + rng.normal(size=16))
        for control in range(24):
            rows.append((f"P{plate}", f"{'EFGH'[control // 12]}{control % 12 + 1:02d}", None))
            values.append(rng.normal(size=16))
    table = pl.DataFrame(rows, ["plate", "well", "gene"], orient="row").with_columns(
        perturbation=pl.col("gene").fill_null("none"), control=pl.col("gene").is_null()
    )
    write(folder / "wells", table, values)
    map_wells(folder / "wells", folder / "map.h5ad", settings=MapSettings(through="wells"))
    pairs = [(f"G{3 * n:02d}", f"G{3 * n + m:02d}") for n in range(10) for m in (1, 2)]
    text = "".join(f"{a},{b}\n" for a, b in pairs)
    (folder / "complexes").mkdir()
    (folder / "complexes/planted.csv").write_text(f"entity1,entity2\n{text}")
    (folder / "complexes/first.csv").write_text("entity1,entity2\nG01,G00\nG00,G99\n")
    return folder


def test_partners_are_found_and_named(screen, capsys):
    settings = NeighborsSettings(k=4, annotations=screen / "complexes", wells=screen / "wells")
    table = neighbors(screen / "map.h5ad", "G00", "G07", settings=settings)
    assert table["name"].to_list() == ["G00"] * 8 + ["G07"] * 8
    assert table["side"].to_list() == [*["nearest"] * 4, *["farthest"] * 4] * 2
    assert table["rank"].to_list() == [1, 2, 3, 4] * 4
    near = {row["neighbor"]: row for row in table.head(4).rows(named=True)}
    assert {*list(near)[:2]} == {"G01", "G02"}
    assert (near["G01"]["known"], near["G02"]["known"]) == ("first | planted", "planted")
    assert near["G01"]["fdr"] < 0.05
    assert table["known"].count() == 3  # G07 is a partner of G06 alone
    printed = capsys.readouterr().out
    assert "nearest to G00 (3 wells on 3 plates, consistency" in printed
    assert "farthest from G07" in printed


@pytest.fixture
def hub(tmp_path):
    """A map of 60 names, ten rows six times, and the known pairs of N00 with 39 of them."""
    rng = np.random.default_rng(3)
    values = np.repeat(rng.normal(size=(10, 5)), 6, axis=0)
    names = [f"N{number:02d}" for number in range(60)]
    wells = [f"{row}{column:02d}" for row in "ABCDE" for column in range(1, 13)]
    table = pl.DataFrame({"well": wells, "gene": names}).with_columns(
        plate=pl.lit("P"), perturbation="gene", control=False
    )
    write(tmp_path / "wells", table, values)
    map_wells(tmp_path / "wells", tmp_path / "map.h5ad", settings=MapSettings(through="wells"))
    lines = [f"{name},N00\n" for name in names[1:31]] + ["N00,N00\n", "N00,absent\n", "N01,N02\n"]
    known = tmp_path / "known"
    known.mkdir()
    (known / "one.csv").write_text("entity1,entity2\n" + "".join(lines))
    twice = "".join(f"N00,{name}\n" for name in names[21:40])
    (known / "two.csv").write_text("entity1,entity2\n" + twice)
    return tmp_path


def test_partners_have_the_ranks_of_scikit_learn(hub):
    """Found and missed; equal cosines are in the order of the map, as those of neighbors."""
    path = hub / "map.h5ad"
    finder = NeighborFinder.open(path, read_map(path), annotations=hub / "known", k=7)
    listed = finder.list_neighbors(np.array([0]))
    partners = list_partners(finder, 0, listed)
    cosines = cosine_similarity(read_map(path).features.astype(np.float64))[0]
    order = sorted(range(1, 60), key=lambda row: (-round(cosines[row], 9), row))
    expected = [row for row in order if row < 40]
    assert partners["partner"].to_list() == [f"N{row:02d}" for row in expected]
    assert partners["rank"].to_list() == [order.index(row) + 1 for row in expected]
    np.testing.assert_allclose(partners["cosine"], cosines[expected], atol=1e-6)
    sources = ["one" if row < 21 else "one | two" if row < 31 else "two" for row in expected]
    assert partners["known"].to_list() == sources
    near = [f"N{row:02d}" for row in order[:7]]
    far = sorted(order, key=lambda row: (round(cosines[row], 9), row))[:7]
    named = dict.fromkeys(near, "nearest") | {f"N{row:02d}": "farthest" for row in far}
    assert partners["listed"].to_list() == [named.get(name) for name in partners["partner"]]
    p = {row["neighbor"]: (row["p"], row["fdr"]) for row in listed.rows(named=True)}
    assert partners.select("p", "fdr").rows() == [
        p.get(name, (None, None)) for name in partners["partner"]
    ]


def test_partners_that_are_not_near_are_printed(hub, capsys):
    words = ["neighbors", str(hub / "map.h5ad"), "N00", "N50", "--k", "7"]
    assert cli.run([*words, "--annotations", str(hub / "known")]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"N00 has 39 known partners on the map, (\d) among its 7 n.*", printed)
    assert found
    assert f"and {39 - int(found[1]) - 20} more" in printed
    block = printed.split(found[0])[1].splitlines()
    assert block[1].split() == ["rank", "partner", "cosine", "known"]
    assert all(int(line.split()[0]) > 7 for line in block[2:22])
    assert "no known partner of N50 is on the map" in printed
    assert cli.run(words) == 0
    assert "partner" not in capsys.readouterr().out


def test_all_names_in_another_order_keep_their_own_neighbors(screen):
    names = [f"G{number:02d}" for number in range(30)][::-1]
    table = neighbors(screen / "map.h5ad", *names, settings=NeighborsSettings(k=2))
    alone = neighbors(screen / "map.h5ad", "G07", settings=NeighborsSettings(k=2))
    columns = ["neighbor", "cosine", "p"]
    assert table.filter(name="G07").select(columns).equals(alone.select(columns))


def test_wells_and_effects_are_those_of_ask_signal(screen):
    settings = NeighborsSettings(k=3, wells=screen / "wells")
    table = neighbors(screen / "map.h5ad", "G11", settings=settings)
    signal = measure_signal(
        read_wells(screen / "wells"), screen / "wells", SignalSettings(by="gene", min_wells=2)
    )
    wanted = {row["gene"]: row for row in signal.rows(named=True)}
    for row in table.rows(named=True):
        for name, start in ((row["name"], ""), (row["neighbor"], "neighbor_")):
            assert (row[f"{start}wells"], row[f"{start}plates"]) == (3, 3)
            for measure in ("consistency", "magnitude"):
                assert row[f"{start}{measure}"] == pytest.approx(wanted[name][measure], rel=1e-6)


@pytest.fixture
def guided(tmp_path):
    """A gene of three guides on five wells, one of a single guide, one of none, and controls."""
    rows = [
        *(("P1", f"A{at + 1:02d}", "three", f"g{guide}") for at, guide in enumerate([0, 0, 1, 2])),
        ("P2", "A01", "three", "g2"),
        *((plate, "B01", "one", "g0") for plate in ("P1", "P2")),
        *((plate, "C01", "none", None) for plate in ("P1", "P2")),
        *((plate, f"D{at:02d}", None, None) for plate in ("P1", "P2") for at in range(1, 7)),
    ]
    table = pl.DataFrame(rows, ["plate", "well", "gene", "guide"], orient="row").with_columns(
        perturbation=pl.col("gene").fill_null("control"), control=pl.col("gene").is_null()
    )
    values = np.random.default_rng(8).normal(size=(len(rows), 6)).astype(np.float32)
    write(tmp_path / "wells", table, values)
    map_wells(tmp_path / "wells", tmp_path / "map.h5ad", settings=MapSettings(through="wells"))
    return tmp_path, table, values


def test_guides_agree_by_the_cosines_of_their_means(guided, capsys):
    """Three pairs of guides, each of one or two wells; a single guide has nothing to agree with."""
    folder, table, values = guided
    settings = NeighborsSettings(k=2, wells=folder / "wells")
    found = neighbors(folder / "map.h5ad", "three", "none", settings=settings)
    own = (table["gene"] == "three").fill_null(False)
    means = np.stack(
        [values[own & (table["guide"] == f"g{guide}")].mean(axis=0) for guide in range(3)]
    )
    agreement = cosine_similarity(means)[np.triu_indices(3, k=1)].mean()
    near = found.filter(name="three", side="nearest")
    assert near["guides"].to_list() == [3, 3]
    assert near["guide_agreement"].to_list() == pytest.approx([agreement] * 2, abs=1e-6)
    neighbor = {row["neighbor"]: row for row in near.rows(named=True)}
    assert neighbor["one"]["neighbor_guides"] == 1
    assert neighbor["one"]["neighbor_guide_agreement"] is None
    assert neighbor["none"]["neighbor_guides"] == 0
    printed = capsys.readouterr().out
    assert f"nearest to three (5 wells on 2 plates, 3 guides with agreement {agreement:.3f}" in (
        printed
    )
    assert "nearest to none (2 wells on 2 plates, consistency" in printed


def test_a_guide_of_two_genes_is_one_of_each_and_no_guides_are_no_columns(guided, screen):
    folder, *_ = guided
    settings = NeighborsSettings(k=1, wells=folder / "wells")
    found = neighbors(folder / "map.h5ad", out=folder / "out", settings=settings).to_polars()
    assert dict(found.select("name", "guides").unique().rows()) == {"three": 3, "one": 1, "none": 0}
    settings = NeighborsSettings(k=1, wells=screen / "wells")
    columns = neighbors(screen / "map.h5ad", "G00", settings=settings).columns
    assert [name for name in columns if "guide" in name] == []


def test_p_and_fdr_without_wells_by_their_formulas(screen):
    table = neighbors(screen / "map.h5ad", "G04", settings=NeighborsSettings(k=5))
    unit = unit_rows(map_features(screen))
    full = unit @ unit.T
    np.fill_diagonal(full, -np.inf)
    highest = -np.sort(-full, axis=1)[:, :5]
    others = np.delete(highest, 4, axis=0)
    wanted = [(1 + (others[:, rank] >= highest[4, rank]).sum()) / 30 for rank in range(5)]
    assert table["p"].to_list()[:5] == pytest.approx(wanted)
    np.testing.assert_allclose(table["fdr"], false_discovery_control(table["p"]))


def map_features(screen):
    import anndata

    return np.asarray(anndata.read_h5ad(screen / "map.h5ad").X)


def test_p_with_wells_counts_averages_of_controls(screen):
    """Every draw is of one control well per plate, so that their number is known."""
    settings = NeighborsSettings(k=2, wells=screen / "wells", draws=400)
    table = neighbors(screen / "map.h5ad", "G04", settings=settings)
    rng = np.random.default_rng(9)
    wells = read_wells(screen / "wells")
    unit = unit_rows(map_features(screen))
    control = wells.table["control"].to_numpy()
    plates = [
        wells.features[control & (wells.table["plate"] == f"P{n}").to_numpy()] for n in range(3)
    ]
    null = []
    for _ in range(4000):
        mean = np.mean([plate[rng.integers(24)] for plate in plates], axis=0)
        cosines = np.delete(unit @ mean / np.linalg.norm(mean), rng.integers(30))
        null.append(-np.sort(-cosines)[:2])
    for rank, (p, cosine) in enumerate(table.select("p", "cosine").head(2).rows()):
        share = (1 + (np.array(null)[:, rank] >= cosine).sum()) / 4001
        assert p == pytest.approx(share, abs=0.06)


def test_controls_are_read_and_checked_once(screen, tmp_path, capsys):
    wells, path = tmp_path / "wells", tmp_path / "map.h5ad"
    correct(screen / "wells", wells, settings=CorrectSettings("center-scale", "plate"))
    map_wells(wells, path, settings=MapSettings(through="wells"))
    capsys.readouterr()
    finder = NeighborFinder.open(path, read_map(path), wells=wells, k=2, draws=20)
    first, _ = (finder.list_neighbors(np.array([row])) for row in (4, 7))
    assert capsys.readouterr().err.count("the controls of each plate have mean 0") == 1
    controls = finder.wells.controls
    assert controls is finder.wells.controls
    assert len(controls.features) == 72
    assert first.equals(finder.list_neighbors(np.array([4])))


def test_p_of_genes_without_effect_is_uniform(tmp_path):
    """Under the null hypothesis 5 % of the first neighbors have p of at most .05."""
    rng = np.random.default_rng(2)
    index = np.arange(2 * 384)
    table = pl.DataFrame(
        {
            "plate": [f"P{at // 384}" for at in index],
            "well": [f"{chr(65 + at % 384 // 24)}{at % 24 + 1:02d}" for at in index],
            "gene": [f"G{at % 384:03d}" if at % 384 < 240 else None for at in index],
            "control": [at % 384 >= 240 for at in index],
        }
    ).with_columns(perturbation=pl.col("gene").fill_null("none"))
    features = rng.normal(size=(len(index), 12)).astype(np.float32)
    write(tmp_path / "wells", table, features)
    map_wells(tmp_path / "wells", tmp_path / "map.h5ad", settings=MapSettings(through="wells"))
    settings = NeighborsSettings(k=3, wells=tmp_path / "wells")
    found = neighbors(tmp_path / "map.h5ad", out=tmp_path / "out", settings=settings).to_polars()
    for side in ("nearest", "farthest"):
        for rank in (1, 3):
            p = found.filter(side=side, rank=rank)["p"]
            assert len(p) == 240
            assert 0.01 <= (p <= 0.05).mean() <= 0.1
            assert 0.4 <= p.mean() <= 0.6


def test_all_names_make_a_folder(screen, tmp_path, capsys):
    words = ["neighbors", str(screen / "map.h5ad"), "--all", str(tmp_path / "out"), "--k", "3"]
    assert cli.run(words) == 0
    said = capsys.readouterr().err
    assert said.endswith(f"{tmp_path / 'out'}: 30 names, 180 pairs\n")
    assert "of 180 pairs have a false discovery rate of at most .05" in said
    content = (tmp_path / "out/neighbors.parquet").read_bytes()
    assert cli.run([*words[:3], str(tmp_path / "again"), *words[4:]]) == 0
    assert (tmp_path / "again/neighbors.parquet").read_bytes() == content
    assert cli.run([*words[:-1], "4"]) == 1
    assert "was made with another setting: k = " in capsys.readouterr().err
    assert cli.run(["check", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "give names of the map, or a folder for all of them (out, on the command line --all)"),
        (
            "G01 --all out",
            "give names of the map, or a folder for all of them (out, on the command line --all)",
        ),
        ("g1", "has no name 'g1': did you mean "),
        ("TP53", "has no name 'TP53'\n"),
        ("G01 --k 0", "--k must be at least 1, not 0"),
        ("G01 --wells absent", "absent"),
        ("G01 --annotations absent", "absent: there is no such file or folder of annotations"),
    ],
)
def test_what_cannot_be_listed(screen, words, sentence, capsys):
    assert cli.run(["neighbors", str(screen / "map.h5ad"), *words.split()]) == 1
    assert sentence in capsys.readouterr().err


def test_wells_of_another_map_are_refused(screen, tmp_path):
    map_wells(
        screen / "wells",
        tmp_path / "map.h5ad",
        settings=MapSettings(through="wells", where="plate != 'P0'"),
    )
    found = neighbors(
        tmp_path / "map.h5ad", "G01", settings=NeighborsSettings(k=1, wells=screen / "wells")
    )
    assert found["plates"].to_list() == [2, 2]  # also controls are of these plates only
    table = read_wells(screen / "wells").table.drop_nulls("gene")
    write(tmp_path / "other", table, np.ones((len(table), 4)))
    with pytest.raises(ValueError, match="was not made from the wells"):
        neighbors(
            tmp_path / "map.h5ad", "G01", settings=NeighborsSettings(wells=tmp_path / "other")
        )
