"""What is on the map: the sections of wells, store, annotations and layout, beside their files."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity

from phenomae import read_map, read_wells
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.map import MapSettings, map_wells
from phenomae.reporting.report import ReportSettings, report
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.read import open_store, read_field, windows
from phenomae.wells import write_wells

HEADINGS = {
    "data": "Data",
    "layout": "Layout of the map",
    "known-pairs": "Known pairs, found and missed",
    "pairs": "Nearest pairs",
    "plates": "Plates",
    "correction": "Before and after correction",
}


@pytest.fixture(scope="module")
def settings(imaged, placed) -> ReportSettings:
    """A report of all that goes with the map."""
    return ReportSettings(
        map=placed,
        wells=imaged.corrected,
        store=imaged.store,
        annotations=imaged.annotations,
        among=(imaged.wells.parent,),
    )


@pytest.fixture(scope="module")
def out(settings, tmp_path_factory) -> Path:
    """The folder of that report."""
    folder = tmp_path_factory.mktemp("on_map") / "report"
    report(folder, settings=settings)
    return folder


@pytest.fixture(scope="module")
def page(out, read_page):
    return read_page(out)


def part_of(page, name: str) -> str:
    """Return the HTML of a section."""
    return page.source.partition(f'<section id="{name}">')[2].partition("</section>")[0]


def words_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).replace("\xa0", " ").split())


def rows_of(html: str) -> list[list[str]]:
    """Return the cells of the table of a section, without its header."""
    body = html.partition("<tbody>")[2]
    rows = re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]
    return [[words_of(cell) for cell in row] for row in cells]


def pictures_of(html: str) -> list[bytes]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', html)
    return [base64.b64decode(content) for content in found]


def test_the_page_has_a_section_for_each_input(page):
    assert [name for name in page.headings if name in HEADINGS.values()] == [*HEADINGS.values()]
    assert set(HEADINGS) <= page.ids


def test_the_data_are_counted(page, imaged):
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", part_of(page, "data")))
    wells, store = read_wells(imaged.corrected).table, open_store(imaged.store)
    on_map = wells.filter(~pl.col("control"))
    per_gene = on_map.group_by("gene").agg(pl.len(), pl.col("plate").n_unique())
    assert set(per_gene["len"]) == {4}
    plates = sorted(per_gene["plate"])
    assert facts["plates"] == "2, of 2 batches"
    assert (
        facts["wells"]
        == f"{len(wells)}, of which {len(on_map)} are on the map"
        == ("64, of which 48 are on the map")
    )
    assert facts["controls"] == "16; per plate 8"
    assert facts["genes"] == "12"
    assert plates[0] == plates[-1] == 2
    assert facts["replicates"] == "4, on 2 plates"
    assert facts["features"] == str(read_map(imaged.map).features.shape[1])
    assert facts["channels"] == ", ".join(store.channels)
    assert facts["fields"] == "128; per well 2"
    assert facts["field size"] == "64 × 64 pixels"
    assert facts["pixel size"] == "unknown"
    assert facts["known pairs"] == "relationships (12)"
    assert facts["correction"] == ("center-scale by plate (fitted on the controls of each plate)")
    verdict = (imaged.corrected / "verdict.json").read_text()
    assert f"verdict: {facts['its verdict']}" in verdict


def test_found_pairs_are_those_that_benchmark_recalls(page, imaged, tmp_path, out):
    known = BenchmarkSettings(imaged.annotations, resamples=0)
    benchmark(imaged.map, tmp_path / "results", settings=known)
    [measured] = pl.read_csv(tmp_path / "results" / "recall.csv").rows(named=True)
    [row] = rows_of(part_of(page, "known-pairs"))
    assert row[:2] == ["relationships", "12"] == ["relationships", str(measured["n_pairs"])]
    assert int(row[2]) + int(row[3]) + int(row[4]) == 12
    assert row[5] == f"{measured['recall']:.3f}"
    one_by_one = pl.read_csv(tmp_path / "results" / "known_pairs.csv")
    listed = pl.read_csv(out / "figures" / "known_pairs.csv")
    assert listed["entity1"].to_list() == one_by_one["entity1"].to_list()
    assert listed["found"].to_list() == one_by_one["recalled"].to_list()
    np.testing.assert_allclose(listed["cosine"], one_by_one["cosine"])


def test_with_results_their_percentiles_decide(imaged, tmp_path, make_page):
    known = BenchmarkSettings(imaged.annotations, resamples=0, low=(0.2,), high=(0.8,))
    benchmark(imaged.map, tmp_path / "results", settings=known)
    page = make_page(
        tmp_path / "out",
        map=imaged.map,
        results=tmp_path / "results",
        annotations=imaged.annotations,
    )
    recall = pl.read_csv(tmp_path / "results" / "recall.csv")["recall"].item()
    [row] = rows_of(part_of(page, "known-pairs"))
    assert row[5] == f"{recall:.3f}"
    assert "lowest 20 % and highest 20 %" in words_of(part_of(page, "known-pairs"))


def test_the_nearest_pairs_are_those_of_a_full_sort(page, imaged):
    profiles = read_map(imaged.map)
    cosines = cosine_similarity(profiles.features.astype(np.float64))
    cosines[np.tril_indices(12)] = -2
    order = np.column_stack(np.unravel_index(np.argsort(-cosines, axis=None), cosines.shape))
    every = [tuple(profiles.names[row] for row in pair) for pair in order[:66]]
    listed = pl.read_csv(imaged.annotations).select("entity1", "entity2").rows()
    known = {frozenset(pair) for pair in listed}
    part = part_of(page, "pairs")
    first, second = part.split("The nearest pairs that are in no source")
    for html, wanted in (
        (first, [pair for pair in every if frozenset(pair) in known][:10]),
        (second, [pair for pair in every if frozenset(pair) not in known][:10]),
    ):
        headings = re.findall(r"<h4>(.*?)</h4>", html)
        assert headings == [f"{one} – {other}" for one, other in wanted]
        for (one, other), line in zip(
            wanted, re.findall(r"<p>(cosine .*?)</p>", html), strict=True
        ):
            rows = profiles.names.index(one), profiles.names.index(other)
            assert line.startswith(f"cosine {cosines[rows]:.3f}")


def test_each_pair_has_both_names_beside_controls_of_the_same_plates(page, imaged, out):
    store = open_store(imaged.store)
    part = part_of(page, "pairs")
    cards = part.split('<div class="card">')[1:]
    assert len(cards) == 20
    for card in cards:
        one, other = re.findall(r"<h4>(.*?) – (.*?)</h4>", card)[0]
        labels = re.findall(r"<figcaption>(.*?)</figcaption>", card)
        names = [label.partition(",")[0] for label in labels]
        assert names == [one, "control", other, "control"]
        wells = [re.findall(r", (\S+) (\S+), site (\d)", label)[0] for label in labels]
        for (plate, well, _), (beside, control, _) in (wells[:2], wells[2:]):
            assert plate == beside
            fields = store.fields.filter(pl.col("plate") == plate)
            assert fields.filter(pl.col("well") == control)["control"].all()
            assert not fields.filter(pl.col("well") == well)["control"].any()
        for (plate, well, site), content in zip(wells, pictures_of(card), strict=True):
            places = store.fields.with_row_index().filter(
                pl.col("plate") == plate, pl.col("well") == well, pl.col("site") == int(site)
            )
            index = int(places["index"].item())
            assert content == (out / "figures" / f"cells_{index}.jpg").read_bytes()
            _compare_with_pixels(content, store, index)


def _compare_with_pixels(content: bytes, store, index: int) -> None:
    """Compare the brightness of a picture with that of the pixels in their windows."""
    shown = np.asarray(Image.open(io.BytesIO(content)), dtype=np.float64)
    assert shown.shape == (64, 64, 3)
    low, high = windows(store, [index])[0].T[:, :, None, None].astype(np.float64)
    levels = ((read_field(store, index) - low) / (high - low)).clip(0, 1)
    brightness = np.corrcoef(shown.mean(axis=2).ravel(), levels.mean(axis=0).ravel())[0, 1]
    assert brightness > 0.9


def test_plates_have_their_medians(page, out, imaged):
    wells = pl.read_csv(out / "figures" / "wells.csv")
    for row in rows_of(part_of(page, "plates")):
        own = wells.filter(pl.col("plate") == row[0])
        assert row[1:3] == ["32", "8"]
        medians = [np.median(own[name]) for name in ("foreground", "focus")]
        medians.append(np.median(own.filter(~pl.col("control"))["distance"]))
        assert row[3:] == [f"{value:.3f}" for value in medians]
    images = re.findall(r'<img src="data:image/svg[^"]*" alt="(.*?)"', part_of(page, "plates"))
    assert len(images) == 2
    assert "32 wells of plate B1P1" in images[0]
    assert "8 controls are marked" in images[0]


def test_the_correction_is_that_of_the_diagnosis(page, imaged):
    diagnosis = pl.read_csv(imaged.corrected / "diagnosis.csv")
    shown = {(row[0], row[1]): row for row in rows_of(part_of(page, "correction"))}
    for row in diagnosis.filter(~pl.col("measure").str.starts_with("R2")).rows(named=True):
        name = row["measure"].replace("batch", row["column"])
        cells = shown.pop((name, f"{row['n']} {row['wells']}"))
        assert cells[2:4] == [f"{row['before']:.3f}", f"{row['after']:.3f}"]
        assert cells[6] == (row["change"] or "")
    assert not shown
    alt = re.findall(r'<img[^>]*alt="(.*?)"', part_of(page, "correction"))[0]
    assert alt.startswith("64 wells of 2 plates on two principal components")


def test_without_the_wells_before_there_is_no_picture(imaged, tmp_path, make_page):
    wells = shutil.copytree(imaged.corrected, tmp_path / "corrected")
    map_path = shutil.copy(imaged.map, tmp_path / "map.h5ad")
    page = make_page(tmp_path / "out", map=map_path, wells=wells)
    part = part_of(page, "correction")
    assert "<img" not in part
    assert "name their folder with --among to see both" in words_of(part)
    assert "not found beside the inputs" in page.text


def test_wells_without_correction_have_no_such_section(imaged, tmp_path, make_page):
    map_wells(imaged.wells, tmp_path / "map.h5ad", settings=MapSettings(by="gene"))
    page = make_page(tmp_path / "out", map=tmp_path / "map.h5ad", wells=imaged.wells)
    assert "correction" not in page.ids
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", part_of(page, "data")))
    assert facts["correction"] == "none: the wells are as they were computed"
    assert "its verdict" not in facts


def test_points_are_those_of_the_map(page, placed, out):
    points = read_map(placed)
    listed = pl.read_csv(out / "figures" / "layout.csv")
    assert listed["name"].to_list() == points.names
    np.testing.assert_allclose(listed.select("x", "y").to_numpy(), points.layout, rtol=1e-5)
    words = words_of(part_of(page, "layout"))
    assert "Points that other software computed." in words
    assert "All genes are on the same plates." in words
    for name in points.names:
        assert f">{name}<" in (out / "figures" / "layout.svg").read_text()


def test_a_layout_of_phenomae_says_how_far_it_is_trusted(imaged, tmp_path, make_page):
    pytest.importorskip("umap")
    from phenomae import LayoutSettings, layout

    path = Path(shutil.copy(imaged.map, tmp_path / "map.h5ad"))
    out = tmp_path / "out"
    report(out, settings=ReportSettings(map=path))
    layout(path, settings=LayoutSettings(n_neighbors=4))
    # The identity of the map is the same, but not that of the page.
    with pytest.raises(ValueError, match="another source: layout = None"):
        report(out, settings=ReportSettings(map=path))
    page = make_page(tmp_path / "again", map=path)
    words = words_of(part_of(page, "layout"))
    assert "UMAP with 4 neighbors, minimum distance 0.1, seed 0." in words
    assert re.search(r"Trustworthiness of 4 neighbors [01]\.\d{3}: 1 if", words)
    assert "data" not in page.ids


def test_the_same_inputs_are_the_same_bytes(settings, out, tmp_path):
    report(tmp_path / "again", settings=settings)
    for path in sorted(out.rglob("*")):
        if path.is_file():
            copy = tmp_path / "again" / path.relative_to(out)
            assert copy.read_bytes() == path.read_bytes(), path.name


def test_without_a_store_pairs_are_a_table(imaged, tmp_path, make_page):
    page = make_page(tmp_path / "out", map=imaged.map, annotations=imaged.annotations)
    part = part_of(page, "pairs")
    assert "<img" not in part
    rows = [row for row in rows_of(part) if len(row) > 1]
    assert len(rows) == 20
    assert all(row[2] == "relationships" for row in rows[:10])
    assert all(row[2] == "" for row in rows[10:])
    assert {"data", "plates", "correction"}.isdisjoint(page.ids)


def test_without_annotations_all_pairs_are_in_one_list(imaged, tmp_path, make_page):
    page = make_page(tmp_path / "out", map=imaged.map, store=imaged.store)
    part = part_of(page, "pairs")
    assert re.findall(r"<h3>(.*?)</h3>", part) == ["The nearest pairs"]
    assert len(pictures_of(part)) == 40
    assert "the first control well of the same plate" in words_of(part)
    assert {"known-pairs", "plates"}.isdisjoint(page.ids)
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", part_of(page, "data")))
    assert "wells" not in facts
    assert facts["channels"] == ", ".join(open_store(imaged.store).channels)


def test_plates_without_images_and_controls_have_no_section(screen, tmp_path, make_page):
    wells = screen.map.with_name("good.wells")
    page = make_page(tmp_path / "out", map=screen.map, wells=wells)
    assert {"data", "pairs"} <= page.ids
    assert "plates" not in page.ids


def test_plates_without_images_have_distances(imaged, tmp_path, make_page):
    table = read_wells(imaged.corrected)
    columns = table.columns[:6]
    values = pl.from_numpy(table.features[:, :6], schema=columns, orient="row")
    records = table.table.select("plate", "well", "gene", "control")
    write_wells(tmp_path / "wells", pl.concat([records, values], how="horizontal"), columns)
    settings = MapSettings(by="gene", through="wells")
    map_wells(tmp_path / "wells", tmp_path / "map.h5ad", settings=settings)
    page = make_page(tmp_path / "out", map=tmp_path / "map.h5ad", wells=tmp_path / "wells")
    words = words_of(part_of(page, "plates"))
    assert "Distance: of the profile of a well" in words
    assert "Focus" not in words
    assert [len(row) for row in rows_of(part_of(page, "plates"))] == [4, 4]


@pytest.mark.parametrize("name", ["wells", "store", "annotations"])
def test_what_goes_with_a_map_needs_one(name, screen):
    with pytest.raises(ValueError, match=f"^{name} goes with a map: give map too$"):
        ReportSettings(run=screen.run, **{name: "somewhere"})


def test_wells_and_stores_of_other_screens_are_refused(imaged, screen, tmp_path):
    def refuse(sentence: str, **given) -> None:
        with pytest.raises(ValueError, match=sentence):
            report(tmp_path / "out", settings=ReportSettings(**given))
        assert not list(tmp_path.glob("out*"))

    refuse(r"was not made from the wells .*corrected", map=screen.map, wells=imaged.corrected)
    refuse(r"store has no field of a row of .*good\.h5ad", map=screen.map, store=imaged.store)
    refuse("no annotated pair has both its genes", map=imaged.map, annotations=screen.annotations)
    # The same plates and wells, ingested with another window.
    ingest(imaged.raw, tmp_path / "store", settings=IngestSettings(bits=8))
    refuse(
        r"store is not the store that the wells .*corrected were computed from: give that store",
        map=imaged.map,
        wells=imaged.corrected,
        store=tmp_path / "store",
    )


@pytest.mark.parametrize("name", ["corrected", "store", "annotations"])
def test_a_report_does_not_swallow_what_it_shows(imaged, name, tmp_path):
    setting = "wells" if name == "corrected" else name
    path = getattr(imaged, name)
    settings = ReportSettings(map=imaged.map, **{setting: path})
    with pytest.raises(ValueError, match="cannot be the folder of the report"):
        report(path.parent, settings=settings, overwrite=True)
    assert path.exists()


def test_warnings_of_the_correction_are_on_the_page(imaged, tmp_path, make_page):
    # More directions than controls, which `correct` warns of.
    few = CorrectSettings(method="tvn", batch="plate", then=("sphering:",))
    correct(imaged.wells, tmp_path / "corrected", settings=few)
    map_wells(tmp_path / "corrected", tmp_path / "map.h5ad", settings=MapSettings(by="gene"))
    page = make_page(tmp_path / "out", map=tmp_path / "map.h5ad", wells=tmp_path / "corrected")
    verdict = (tmp_path / "corrected" / "verdict.json").read_text()
    warnings = json.loads(verdict)["warnings"]
    assert warnings
    words = words_of(page.source)
    for warning in warnings:
        assert words.count(warning) == 2  # among the data, and below the numbers


@pytest.mark.slow
def test_a_page_of_5000_genes_has_less_than_3_mb(make_store, tmp_path, make_page):
    """Noise is the most that pictures of cells can have in bytes."""
    rng = np.random.default_rng(0)
    genes, width = 5000, 32
    profiles = np.repeat(rng.normal(size=(genes // 10, width)), 10, axis=0)
    profiles += 0.5 * rng.normal(size=profiles.shape)
    profiles[:20] = profiles[0] + 0.01 * rng.normal(size=(20, width))  # those with pictures
    places = [f"{'ABCDEFGHIJKLMNOP'[n // 24]}{n % 24 + 1:02d}" for n in range(384)]
    names = [f"GENE{number:04d}" for number in range(genes)]
    each = 352  # genes of a plate, beside its 32 controls
    parts, features = [], []
    for number in range(-(-genes // each)):
        own = slice(number * each, (number + 1) * each)
        treated = names[own]
        control = [False] * len(treated) + [True] * 32
        wells = places[: len(control)]
        labels = treated + ["NTC"] * 32
        parts.append(
            pl.DataFrame(
                {"plate": f"P{number:02d}", "well": wells, "gene": labels, "control": control}
            )
        )
        features += [profiles[own], rng.normal(size=(32, width))]
    columns = [f"x{number}" for number in range(width)]
    values = pl.from_numpy(np.concatenate(features), schema=columns, orient="row")
    table = pl.concat([pl.concat(parts), values], how="horizontal")
    write_wells(tmp_path / "wells", table, columns)
    by_plate = CorrectSettings(method="center-scale", batch="plate")
    correct(tmp_path / "wells", tmp_path / "corrected", settings=by_plate)
    path = tmp_path / "made.h5ad"
    map_wells(tmp_path / "corrected", path, settings=MapSettings(through="wells"))
    made = anndata.read_h5ad(path)
    made.obsm["X_umap"] = made.X[:, :2].astype(np.float32)
    made.write_h5ad(tmp_path / "map.h5ad")
    pixels = {
        ("P00", places[number], 1): rng.integers(0, 5000, (5, 200, 200)).astype(np.uint16)
        for number in [*range(20), *range(352, 384)]
    }
    store = make_store(tmp_path / "store", pixels, ("DNA", "ER", "RNA", "AGP", "Mito"))
    known = [f"{names[n]},{names[m]}" for n in range(genes) for m in range(n + 1, n - n % 10 + 10)]
    (tmp_path / "known.csv").write_text("\n".join(["entity1,entity2", *known]))
    benchmark(
        tmp_path / "map.h5ad",
        tmp_path / "results",
        settings=BenchmarkSettings(tmp_path / "known.csv", resamples=10),
    )
    page = make_page(
        tmp_path / "out",
        map=tmp_path / "map.h5ad",
        results=tmp_path / "results",
        wells=tmp_path / "corrected",
        store=store,
        annotations=tmp_path / "known.csv",
    )
    assert set(HEADINGS) <= page.ids
    assert len(pictures_of(part_of(page, "pairs"))) == 80
    assert Image.open(io.BytesIO(pictures_of(page.source)[0])).size == (160, 160)
    assert part_of(page, "plates").count('<div class="card">') == 12
    assert "the 12 of 15 plates" in words_of(part_of(page, "plates"))
    assert len(page.source.encode()) < 3_000_000
