"""`ask enrichment`: tables and odds ratios beside scipy, counts by hand, and p-values by chance."""

from itertools import combinations
from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest
from scipy.stats import false_discovery_control, fisher_exact, hypergeom, kstest
from scipy.stats.contingency import odds_ratio
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.evaluation.questions.enriched_genes import rank_genes, top_size
from phenomae.evaluation.questions.enriched_pairs import (
    class_shares,
    find_similar,
    p_of_counts,
    shuffled_counts,
)
from phenomae.evaluation.questions.enrichment import (
    EnrichmentSettings,
    measure_enrichment,
    summarize_enrichment,
)
from phenomae.evaluation.questions.known_pairs import pairs_within
from phenomae.evaluation.questions.odds import RandomTables, Tables
from phenomae.evaluation.recall.bootstrap import resampled_recalls
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_rows
from phenomae.reporting.ask import ask_enrichment

HERE = Path("MAP.h5ad")
COUNT = 60
NAMES = [f"G{number:02d}" for number in range(COUNT)]
TOPS = (0.05, 0.2)
COUNTS = ["known_top", "known_rest", "other_top", "other_rest"]
ALPHAS = (0.01, 0.05, 0.1, 0.5)


def make_map(features: np.ndarray, names: list[str] = NAMES) -> ConsensusProfiles:
    return ConsensusProfiles(names, features.astype(np.float32), pl.DataFrame(), "")


@pytest.fixture(scope="module")
def planted() -> ConsensusProfiles:
    """Complexes of five genes, the first six of which are similar."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(COUNT, 8))
    features[:30] += np.repeat(1.5 * rng.normal(size=(6, 8)), 5, axis=0)
    return make_map(features)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Return a list of pairs, some of them twice, and a file of complexes, one of them of two."""
    rng = np.random.default_rng(1)
    pairs = [(a, b) for a, b in rng.integers(COUNT, size=(50, 2)) if a != b]
    pairs += [(b, a) for a, b in pairs[:5]] + [(0, 1), (5, 6)]
    lines = [f"{NAMES[a]},{NAMES[b]}" for a, b in pairs]
    (tmp_path / "listed.csv").write_text("\n".join(["entity1,entity2", *lines, "G00,absent"]))
    complexes = [f"C{k}\t{' '.join(NAMES[5 * k : 5 * k + 5])} absent" for k in range(12)]
    (tmp_path / "corum.tsv").write_text("\n".join([*complexes, "small\tG00 G07", "one\tG01"]))
    return {"annotations": tmp_path / "listed.csv", "complexes": tmp_path / "corum.tsv"}


def known_of(files: dict[str, Path]) -> dict[str, set[tuple[int, int]]]:
    row_of = {name: row for row, name in enumerate(NAMES)}
    listed = pl.read_csv(files["annotations"]).rows()
    both = [sorted((row_of[a], row_of[b])) for a, b in listed if b in row_of]
    complexes = {pair for k in range(12) for pair in combinations(range(5 * k, 5 * k + 5), 2)}
    return {"listed": {(a, b) for a, b in both}, "corum": complexes | {(0, 7)}}


def cosines_of(profiles: ConsensusProfiles) -> np.ndarray:
    return cosine_similarity(profiles.features.astype(np.float64))


def table_of_pairs(cosines: np.ndarray, known: set[tuple[int, int]], top: float) -> list[list[int]]:
    """Return the 2 x 2 table of all pairs, from the sorted list of them."""
    pairs = sorted(combinations(range(len(cosines)), 2), key=lambda pair: -cosines[pair])
    size = round(top * len(pairs))
    in_top = [pair in known for pair in pairs[:size]]
    rest = [pair in known for pair in pairs[size:]]
    return [[sum(in_top), sum(rest)], [size - sum(in_top), len(rest) - sum(rest)]]


def test_tables_of_pairs_are_those_of_all_sorted_pairs_and_of_scipy(planted, files):
    settings = EnrichmentSettings(**files, top=TOPS, shuffle=20, resamples=20)
    pairs, _ = measure_enrichment(planted, HERE, settings)
    cosines, known = cosines_of(planted), known_of(files)
    sets = {("listed", None): known["listed"], ("corum", None): known["corum"]}
    for k in range(12):
        sets["corum", f"C{k}"] = set(combinations(range(5 * k, 5 * k + 5), 2))
    assert pairs["class"].n_unique() == 13  # the complex of two genes has no row of its own
    assert len(pairs) == 2 * len(sets)
    for row in pairs.iter_rows(named=True):
        own = sets[row["source"], row["class"]]
        table = table_of_pairs(cosines, own, row["top"])
        assert [row[name] for name in COUNTS] == [*table[0], *table[1]]
        assert row["genes"] == len({gene for pair in own for gene in pair})
        assert row["odds_ratio"] == pytest.approx(odds_ratio(table, kind="sample").statistic)
        assert row["fisher_p"] == pytest.approx(fisher_exact(table, alternative="greater").pvalue)
    for top in TOPS:
        for family in (pl.col("class").is_null(), pl.col("class").is_not_null()):
            rows = pairs.filter(family, pl.col("top") == top)
            np.testing.assert_allclose(rows["fdr"], false_discovery_control(rows["p"].to_numpy()))


def test_p_of_pairs_is_the_share_of_permuted_names(planted, files):
    settings = EnrichmentSettings(**files, top=(0.2,), shuffle=99, resamples=0, seed=3)
    pairs, _ = measure_enrichment(planted, HERE, settings)
    cosines, known = cosines_of(planted), known_of(files)
    upper = cosines[np.triu_indices(COUNT, k=1)]
    limit = np.sort(upper)[-round(0.2 * len(upper))]
    for row, own in zip(pairs.rows(named=True)[:2], (known["listed"], known["corum"]), strict=True):
        counts = []
        for k in range(99):
            names = np.random.default_rng([3, k]).permutation(COUNT)
            counts.append(sum(cosines[names[a], names[b]] >= limit for a, b in own))
        observed = row["known_top"]
        assert row["p"] == pytest.approx((1 + sum(np.array(counts) >= observed)) / 100)
    assert pairs["ci_low"].is_null().all()
    assert pairs.row(1, named=True)["p"] == 0.01


def test_intervals_are_those_of_resampled_genes(planted, files):
    settings = EnrichmentSettings(**files, top=(0.2,), shuffle=0, resamples=200, seed=4)
    pairs, _ = measure_enrichment(planted, HERE, settings)
    assert pairs["p"].is_null().all()
    assert pairs["fdr"].is_null().all()
    cosines, known = cosines_of(planted), known_of(files)
    upper = cosines[np.triu_indices(COUNT, k=1)]
    limit = np.sort(upper)[-round(0.2 * len(upper))]
    sets = [known["listed"], known["corum"]]
    sets += [set(combinations(range(5 * k, 5 * k + 5), 2)) for k in range(12)]
    for row, own in zip(pairs.rows(named=True), sets, strict=True):
        genes = sorted({gene for pair in own for gene in pair})
        odds = []
        for k in range(200):
            drawn = np.random.default_rng([4, k]).integers(len(genes), size=len(genes))
            times = dict(zip(genes, np.bincount(drawn, minlength=len(genes)), strict=True))
            weights = {pair: times[pair[0]] * times[pair[1]] for pair in own}
            top = sum(weight for pair, weight in weights.items() if cosines[pair] >= limit)
            rest = sum(weights.values()) - top
            if top + rest:
                other = row["other_top"] / row["other_rest"]
                odds.append(top / rest / other if rest else np.inf)
        if row["known_top"] in (0, len(own)):
            assert row["ci_low"] is row["ci_high"] is None
            continue
        # Between two of the sorted values, which the quantile of odds and shares divide otherwise.
        for end, share in (("ci_low", 0.025), ("ci_high", 0.975)):
            low, high = (np.quantile(odds, share, method=way) for way in ("lower", "higher"))
            assert low * (1 - 1e-9) <= row[end] <= high * (1 + 1e-9)


def test_shares_of_a_class_are_those_of_its_pairs():
    rng = np.random.default_rng(2)
    for size in (2, 3, 8):
        pairs = pairs_within(np.arange(size))
        found = rng.random((len(pairs), 2)) < 0.4
        np.testing.assert_allclose(
            class_shares(found, size, 60, 5), resampled_recalls(found, pairs, 60, 5)
        )
    assert class_shares(found, 8, 0, 5).shape == (0, 2)


def table_of_gene(cosines: np.ndarray, gene: int, partners: set[int], top: float) -> np.ndarray:
    """Return the 2 x 2 table of one ranking, as MorphoHELM describes it."""
    order = [other for other in np.argsort(-cosines[gene]) if other != gene]
    size = max(1, int(len(order) * top))
    hits = np.array([other in partners for other in order])
    target, background = hits[:size], hits[size:]
    return np.array([[target.sum(), background.sum()], [(~target).sum(), (~background).sum()]])


def test_tables_of_genes_are_those_of_their_rankings_and_of_scipy(planted, files):
    settings = EnrichmentSettings(**files, top=TOPS, shuffle=0, resamples=0)
    _, genes = measure_enrichment(planted, HERE, settings)
    cosines, known = cosines_of(planted), known_of(files)
    for row in genes.iter_rows(named=True):
        gene = NAMES.index(row["gene"])
        partners = {a + b - gene for a, b in known[row["source"]] if gene in (a, b)}
        table = table_of_gene(cosines, gene, partners, row["top"])
        assert [row[name] for name in COUNTS] == table.ravel().tolist()
        assert row["p"] == pytest.approx(fisher_exact(table, alternative="greater").pvalue)
        if table.min():
            wanted = odds_ratio(table, kind="sample")
            assert row["odds_ratio"] == pytest.approx(wanted.statistic)
            assert (row["ci_low"], row["ci_high"]) == pytest.approx(wanted.confidence_interval())
        else:
            (a, b), (c, d) = table + 0.5  # modified Haldane-Anscombe correction
            assert row["odds_ratio"] == pytest.approx(a * d / (b * c))
            assert row["ci_low"] is row["ci_high"] is None
    for _, rows in genes.group_by("source", "top"):
        np.testing.assert_allclose(rows["fdr"], false_discovery_control(rows["p"].to_numpy()))
    sizes = genes.group_by("source", "top").len()["len"].to_list()
    listed = len({gene for pair in known["listed"] for gene in pair})
    assert sorted(sizes) == sorted([listed, COUNT] * 2)


def test_chance_is_the_mean_over_all_sets_of_partners():
    # Three known partners among seven other genes, two of which are the top.
    logs, small = [], []
    for partners in combinations(range(7), 3):
        hits = np.isin([0, 1], partners).sum()
        (a, b), (c, d) = cells = np.array([[hits, 3 - hits], [2 - hits, 2 + hits]], dtype=float)
        small.append(fisher_exact(cells.astype(int), alternative="greater").pvalue <= 0.2)
        if not cells.min():
            (a, b), (c, d) = cells + 0.5
        logs.append(np.log(a * d / (b * c)))
    found = RandomTables(np.array([3.0]), np.array([2.0]), np.array([7.0]))
    assert found.log_odds()[0] == pytest.approx(np.mean(logs))
    assert found.significant(0.2)[0] == pytest.approx(np.mean(small))
    assert np.mean(small) == pytest.approx(3 / 21)  # both of the top are partners


def test_the_summary_counts_genes(planted, files):
    settings = EnrichmentSettings(**files, top=TOPS, shuffle=20, resamples=20)
    pairs, genes = measure_enrichment(planted, HERE, settings)
    table = summarize_enrichment(pairs, genes, 0.1)
    assert table.select("source", "top").rows() == [
        (source, top) for top in TOPS for source in ("listed", "corum")
    ]
    row = table.row(3, named=True)
    own = genes.filter(pl.col("source") == "corum", pl.col("top") == 0.2)
    assert row["genes"] == COUNT
    assert row["gene_odds_ratio"] == pytest.approx(np.exp(np.log(own["odds_ratio"]).mean()))
    assert row["gene_chance"] == pytest.approx(np.exp(np.log(own["chance"]).mean()))
    assert row["enriched"] == pytest.approx((own["p"] <= 0.1).mean())
    assert 0 < row["enriched_chance"] <= 0.1
    assert row["enriched_fdr"] == pytest.approx((own["fdr"] <= 0.1).mean())
    assert row["gene_odds_ratio"] > 2 * row["gene_chance"]
    assert row["enriched"] > 0.4


def test_mechanisms_of_compounds_are_classes(planted, tmp_path):
    path = tmp_path / "moa.csv"
    lines = [f"{name},m{row // 5}" for row, name in enumerate(NAMES)]
    path.write_text("\n".join(["compound,mechanism", *lines]))
    complexes = tmp_path / "moa.tsv"
    complexes.write_text(
        "".join(f"m{k}\t{' '.join(NAMES[5 * k : 5 * k + 5])}\n" for k in range(12))
    )
    tables = []
    for name, file in (("mechanisms", path), ("complexes", complexes)):
        settings = EnrichmentSettings(**{name: file}, shuffle=10, resamples=10)
        pairs, genes = measure_enrichment(planted, HERE, settings)
        # The order of the classes is that of the file, or of the compounds.
        tables.append((pairs.sort("class"), genes))
    for one, other in zip(*tables, strict=True):
        assert one.equals(other)


def test_rows_in_any_order_turned_and_scaled_give_the_same(planted, files):
    rng = np.random.default_rng(3)
    order = rng.permutation(COUNT)
    turn = 4 * np.linalg.qr(rng.normal(size=(8, 8)))[0]
    moved = make_map((planted.features @ turn)[order], [NAMES[row] for row in order])
    settings = EnrichmentSettings(**files, top=TOPS, shuffle=0, resamples=0)
    for one, other, keys in zip(
        measure_enrichment(planted, HERE, settings),
        measure_enrichment(moved, HERE, settings),
        (["top", "source", "class"], ["top", "source", "gene"]),
        strict=True,
    ):
        assert other.sort(keys).equals(one.sort(keys))


def test_ties_are_not_among_the_top():
    # Two directions: cosines are 1 within each half, and 0 between them.
    features = np.repeat(np.eye(2), 4, axis=0)
    similar = find_similar(unit_rows(features), [0.3, 0.6])
    # 12 of 28 pairs have cosine 1, which is the threshold of 30 % but not of 60 %.
    assert similar.counts == [0, 12]
    known = np.array([[0, 1], [0, 5]])
    assert similar.among(known).tolist() == [[False, True], [False, False]]
    ((genes, tables),) = rank_genes(unit_rows(features), [0.3, 0.6], [known])
    assert genes.tolist() == [0, 1, 5]
    assert tables[0].cells[0].tolist() == [0] * 3
    assert tables[0].cells[2].tolist() == [0] * 3  # 2 of 7 others, but 3 have the same cosine
    assert tables[1].cells[0].tolist() == [1, 1, 0]
    assert tables[1].cells[2].tolist() == [2, 2, 3]


def test_progress_of_the_neighbours_of_genes_counts_strips_of_equal_size(monkeypatch, capsys):
    monkeypatch.setattr("phenomae.evaluation.recall.tiles._LONG_WORK", 0)
    unit = unit_rows(np.random.default_rng(0).normal(size=(1100, 3)))
    rank_genes(unit, [0.1], [np.column_stack([np.arange(1099), np.arange(1, 1100)])])
    assert "neighbours: 9/9 tiles" in capsys.readouterr().err


def test_sizes_of_the_top_are_exact():
    assert [top_size(7973, 0.01), top_size(50, 0.01), top_size(2900, 0.01)] == [79, 1, 29]
    assert top_size(100, 0.29) == 29  # 0.29 * 100 is 28.999999999999996


def test_tables_without_a_row_or_column():
    tables = Tables(*(np.array(cell) for cell in ([0, 0, 3], [4, 4, 0], [0, 5, 5], [6, 0, 9])))
    assert np.isnan(tables.odds_ratios()[0])
    assert tables.odds_ratios()[1:].tolist() == [0, np.inf]
    for place, p in enumerate(tables.fisher_p()):
        table = [[cell[place] for cell in tables.cells[at : at + 2]] for at in (0, 2)]
        assert p == pytest.approx(fisher_exact(table, alternative="greater").pvalue)


def run(map_path: Path, folder: Path, **settings: object) -> pl.DataFrame:
    values = {"shuffle": 10, "resamples": 10, **settings}
    ask_enrichment(map_path, folder, settings=EnrichmentSettings(**values))
    return pl.read_csv(folder / "enriched.csv")


@pytest.fixture
def map_path(planted, tmp_path) -> Path:
    named = anndata.AnnData(planted.features, obs={"obs_names": NAMES})
    named.write_h5ad(tmp_path / "map.h5ad")
    return tmp_path / "map.h5ad"


def test_the_command_writes_tables_and_a_figure(map_path, files, tmp_path, capsys):
    table = run(map_path, tmp_path / "out", **files)
    assert table["source"].to_list() == ["listed", "corum"]
    written = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert {"pairs.csv", "genes.csv", "enrichment.png", "enrichment.svg"} <= set(written)
    said = capsys.readouterr()
    assert "gene_chance" in said.out
    assert "by chance, because .5 is added to tables with a 0" in said.err


def test_a_folder_of_annotations_is_recorded_by_content(map_path, files, tmp_path):
    folder = tmp_path / "lists"
    folder.mkdir()
    files["annotations"].rename(folder / "listed.csv")
    (folder / "LICENSE").write_text("none")
    run(map_path, tmp_path / "out", annotations=folder)
    (folder / "LICENSE").write_text("some")
    run(map_path, tmp_path / "out", annotations=folder)
    (folder / "more.txt").write_text("entity1,entity2\nG00,G01\n")
    with pytest.raises(ValueError, match="annotations"):
        run(map_path, tmp_path / "out", annotations=folder)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "enrichment needs known pairs: give annotations, complexes or mechanisms"),
        ({"annotations": "absent"}, r"absent: there is no such file \(annotations\)"),
        ({"annotations": "far.csv"}, "none of the known pairs of far has both names on the map"),
        (
            {"annotations": "far.csv", "complexes": "far.tsv"},
            "two sources are named far: rename one of their files",
        ),
        ({"complexes": "far.tsv", "top": (0.0001,)}, "has 60 genes, too few: 0.01 % of all pairs"),
    ],
)
def test_files_that_will_not_do(map_path, tmp_path, monkeypatch, settings, sentence):
    monkeypatch.chdir(tmp_path)
    Path("far.csv").write_text("entity1,entity2\nX,Y\n")
    Path("far.tsv").write_text("one\tG00 G01\n")
    with pytest.raises(ValueError, match=sentence):
        run(map_path, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"top": ()}, "top must be at least one fraction, like 0.01, not empty"),
        ({"top": (0.0,)}, r"top must be between 0 and 1 \(both excluded\), not 0"),
        ({"top": (0.1, 0.1)}, "top has 0.1 twice: give it once"),
        ({"min_genes": 1}, "min_genes must be at least 2, not 1"),
        ({"shuffle": -1}, "shuffle must be at least 0, not -1"),
        ({"resamples": -1}, "resamples must be at least 0, not -1"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"level": 1}, r"level must be between 0 and 1 \(both excluded\), not 1"),
    ],
)
def test_settings_that_will_not_do(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        EnrichmentSettings("known.csv", **wrong)


def random_map(seed: int, genes: int) -> np.ndarray:
    """Return profiles without any signal that have a common direction, some more of it."""
    rng = np.random.default_rng([8, seed])
    common = rng.normal(size=4) * rng.gamma(1.0, size=(genes, 1))
    return unit_rows(rng.normal(size=(genes, 4)) + common)


CLIQUES = np.concatenate([pairs_within(np.arange(16 * k, 16 * k + 16)) for k in range(2)])


def check(p: np.ndarray) -> None:
    for alpha in ALPHAS:
        assert (p <= alpha).mean() <= alpha + 2 * np.sqrt(alpha * (1 - alpha) / len(p))


@pytest.mark.slow
def test_p_of_pairs_holds_under_the_null_hypothesis_in_2000_draws_and_fishers_does_not():
    p, fisher = [], []
    for seed in range(2000):
        similar = find_similar(random_map(seed, 80), [0.05])
        known_top = np.array([similar.among(CLIQUES).sum()])
        p.append(p_of_counts(known_top, shuffled_counts(similar, [CLIQUES], 99, seed)[:, 0])[0])
        fisher.append(similar.tables(known_top, np.array([len(CLIQUES)]), 0).fisher_p()[0])
    check(np.array(p))
    # Genes with much of the common direction are similar to one another: pairs are not independent.
    assert (np.array(fisher) <= 0.01).mean() > 0.03


@pytest.mark.slow
def test_p_of_genes_holds_under_the_null_hypothesis_in_2000_draws():
    p = []
    for seed in range(2000):
        rng = np.random.default_rng([9, seed])
        known = np.column_stack([np.zeros(12, int), 1 + rng.permutation(39)[:12]])
        ((_, (tables,)),) = rank_genes(random_map(seed, 40), [0.2], [known])
        p.append(tables.fisher_p()[0])
    check(np.array(p))
    assert len(np.unique(p)) < 10  # ties


@pytest.mark.slow
def test_mid_p_of_counts_is_uniform_where_there_are_ties():
    p, mid = [], []
    for seed in range(1000):
        rng = np.random.default_rng([10, seed])
        pairs = pairs_within(np.arange(60))
        known = pairs[rng.permutation(len(pairs))[:600]]
        similar = find_similar(unit_rows(rng.normal(size=(60, 10))), [0.34])
        known_top = np.array([similar.among(known).sum()])
        p.append(similar.tables(known_top, np.array([600]), 0).fisher_p()[0])
        law = hypergeom(similar.pairs, 600, similar.counts[0])
        mid.append(law.sf(known_top[0]) + law.pmf(known_top[0]) / 2)
    check(np.array(p))
    assert len(np.unique(p)) < 100  # ties
    assert kstest(mid, "uniform").pvalue > 0.01
