"""RxRx3-core: Parquet files and metadata as they are published, in a small copy."""

from pathlib import Path

import imagecodecs
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenomae.images.fields import Listing
from phenomae.images.layouts.rxrx3_core import find_rxrx3_core, list_rxrx3_core
from phenomae.images.read import list_fields, read_field, read_headers
from phenomae.images.settings import LayoutSettings
from phenomae.records import PLATE_MAP_COLUMNS

HEAD = (
    "well_id,experiment_name,plate,address,gene,treatment,SMILES,concentration,"
    "perturbation_type,cell_type\n"
)
# The rows that the data set's card shows, with other addresses.
ROWS = (
    "gene-079_8_H29,gene-079,8,H29,RPLP2,RPLP2_guide_4,,,CRISPR,HUVEC\n"
    "gene-079_8_AD27,gene-079,8,AD27,RXRX3-43938,RXRX3-43938_guide_6,,,CRISPR,HUVEC\n"
    "gene-079_8_A01,gene-079,8,A01,EMPTY_control,EMPTY_control,,,CRISPR,HUVEC\n"
    'compound-001_8_D20,compound-001,8,D20,,Dequalinium,"CC1=[N+](C)C |c:1,13|",0.25,'
    "COMPOUND,HUVEC\n"
    "compound-001_8_U08,compound-001,8,U08,,EMPTY_control,,,COMPOUND,HUVEC\n"
    "compound-001_8_B08,compound-001,8,B08,,CRISPR_control,,,COMPOUND,HUVEC\n"
    "gene-001_1_B02,gene-001,1,B02,TP53,TP53_guide_1,,,CRISPR,HUVEC\n"
)
GENES = [f"gene-079/Plate8/{well}_s1" for well in ("A01", "AD27", "H29")]
COMPOUNDS = [f"compound-001/Plate8/{well}_s1" for well in ("B08", "D20", "U08")]


def pixels(field: int, channel: int) -> np.ndarray:
    rng = np.random.default_rng([field, channel])
    return rng.integers(0, 255, (16, 24)).astype(np.uint8)


def write_shard(path: Path, starts: list[str], **options) -> None:
    rows = [
        {
            "__key__": f"{start}_{channel}",
            "jp2": {
                "bytes": imagecodecs.jpeg2k_encode(pixels(number, channel), level=0),
                "path": f"{start}_{channel}.jp2",
            },
        }
        for number, start in enumerate(starts)
        for channel in range(1, 7)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two files of images, metadata of one more plate, and another file of the data set."""
    folder = tmp_path / "rxrx3-core"
    write_shard(folder / "data/train-00000-of-00002.parquet", GENES, row_group_size=5)
    write_shard(folder / "data/train-00001-of-00002.parquet", COMPOUNDS)
    (folder / "metadata_rxrx3_core.csv").write_text(HEAD + ROWS)
    embeddings = {"well_id": ["gene-079_8_H29"], "feature_0": [0.5]}
    pq.write_table(pa.table(embeddings), folder / "OpenPhenom_rxrx3_core_embeddings.parquet")
    return folder


def listed(raw: Path, **settings) -> Listing:
    return list_rxrx3_core(raw, find_rxrx3_core(raw), LayoutSettings(**settings))


def test_every_row_is_an_image(raw: Path):
    listing = listed(raw)
    assert len(listing.files) == 36
    assert {(f.plate, f.well, f.site) for f in listing.files} == {
        ("gene-079_Plate8", "A01", 1),
        ("gene-079_Plate8", "AD27", 1),
        ("gene-079_Plate8", "H29", 1),
        ("compound-001_Plate8", "B08", 1),
        ("compound-001_Plate8", "D20", 1),
        ("compound-001_Plate8", "U08", 1),
    }
    (one,) = [f for f in listing.files if (f.well, f.channel) == ("AD27", "3")]
    assert str(one.place) == f"{raw}/data/train-00000-of-00002.parquet, row 8"
    assert not listing.problems
    assert listing.ignored == {"wells of the metadata without images here": 1}


def test_wells_have_guides_or_compounds_and_what_is_a_control(raw: Path):
    wells = listed(raw).wells
    assert wells is not None
    assert dict(wells.schema) == PLATE_MAP_COLUMNS
    gene, compound = "gene-079_Plate8", "compound-001_Plate8"
    assert wells.rows() == [
        (gene, "H29", "gene-079", "RPLP2_guide_4", "RPLP2", "RPLP2_guide_4", None, None, False),
        (
            gene,
            "AD27",
            "gene-079",
            "RXRX3-43938_guide_6",
            "RXRX3-43938",
            "RXRX3-43938_guide_6",
            None,
            None,
            False,
        ),
        (gene, "A01", "gene-079", "EMPTY_control", None, None, None, None, True),
        (
            compound,
            "D20",
            "compound-001",
            "Dequalinium_0.25",
            None,
            None,
            "Dequalinium",
            0.25,
            False,
        ),
        (compound, "U08", "compound-001", "EMPTY_control", None, None, None, None, True),
        (compound, "B08", "compound-001", "CRISPR_control", None, None, None, None, False),
    ]


def test_metadata_as_parquet_or_above_or_not_there(raw: Path):
    by_csv = listed(raw)
    csv = raw / "metadata_rxrx3_core.csv"
    above = listed(raw / "data")
    assert above.wells is not None
    assert above.wells.equals(by_csv.wells)
    pl.read_csv(csv).write_parquet(raw / "metadata_rxrx3_core.parquet")
    csv.unlink()
    by_parquet = listed(raw)
    assert by_parquet.wells is not None
    assert by_parquet.wells.equals(by_csv.wells)
    (raw / "metadata_rxrx3_core.parquet").unlink()
    assert listed(raw).wells is None
    assert len(listed(raw).files) == 36


def test_raw_may_be_one_file_or_the_metadata(raw: Path):
    one = listed(raw / "data/train-00001-of-00002.parquet")
    assert len(one.files) == 18
    (raw / "data/train-00000-of-00002.parquet").rename(raw / "first.parquet")
    assert len(listed(raw / "metadata_rxrx3_core.csv").files) == 36
    assert len(listed(raw / "first.parquet").files) == 18


def test_from_shards_to_pixels(raw: Path):
    plates = list_fields(raw, LayoutSettings(channels="3=RNA,1=DNA"))
    assert plates.channels == ("RNA", "DNA")
    headers, problems = read_headers(plates.fields, workers=1)
    assert not problems
    assert {(h.height, h.width, h.dtype) for h in headers if h} == {(16, 24, "uint8")}
    field = plates.fields[-1]
    assert str(field) == "plate gene-079_Plate8, well AD27, site 1"
    assert np.array_equal(read_field(field), np.stack([pixels(1, 3), pixels(1, 1)]))


def test_other_parquet_is_of_another_layout(raw: Path):
    assert find_rxrx3_core(raw / "OpenPhenom_rxrx3_core_embeddings.parquet") == []
    for shard in (raw / "data").iterdir():
        shard.unlink()
    assert find_rxrx3_core(raw) == []


def test_a_file_that_is_truncated_is_named_and_the_others_are_read(raw: Path):
    shard = raw / "data/train-00000-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    listing = listed(raw)
    assert len(listing.files) == 18
    (problem,) = listing.problems
    assert str(problem).startswith(f"{shard} is not a readable Parquet file: ")
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (None, "expected EXPERIMENT/Plate1/AA15_s1_3"),
        ("gene-001/1/A01_s1_1", "expected EXPERIMENT/Plate1/AA15_s1_3"),
        ("gene-001/Plate1/A0_s1_1", "'A0' is not a well"),
        ("gene-001/Plate1/A01_s1_DNA", "expected the number of a channel, not 'DNA'"),
        (".x/Plate1/A01_s1_1", "cannot be the name of a plate: it begins with a dot"),
    ],
)
def test_a_key_that_is_wrong_is_a_problem(tmp_path: Path, key, what):
    keys = ["gene-001/Plate01/a/A01_s1_1", "gene-001/Plate01/A01_s1_1.jp2", key]
    table = pa.table({"__key__": pa.array(keys), "jp2": [{"bytes": b""}] * 3})
    pq.write_table(table, tmp_path / "t.parquet")
    listing = listed(tmp_path)
    assert [file.plate for file in listing.files] == ["gene-001_Plate1"]
    first, second = map(str, listing.problems)
    assert "t.parquet, row 0: __key__ 'gene-001/Plate01/a/A01_s1_1' cannot be understood" in first
    assert f"row 2: __key__ {key!r} cannot be understood: " in second
    assert what in second


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("treatment,", "drug,", "no column treatment"),
        ("8,D20", "8,D", "line 5: 'D' is not a well"),
        ("0.25", "low", "line 5: the concentration 'low' is not a number"),
        ("COMPOUND", "siRNA", "3 problems: line 5: perturbation_type 'siRNA'"),
        ("Dequalinium", "", "line 5: perturbation_type 'COMPOUND', treatment None"),
        ("gene-079,8,H29", "gene-079,x,H29", "line 2: experiment 'gene-079' and plate 'x' do not"),
        ("8,U08", "8,B08", "line 7: plate compound-001_Plate8, well B08 is listed twice"),
    ],
)
def test_metadata_that_are_wrong_are_an_error(raw: Path, old, new, sentence):
    path = raw / "metadata_rxrx3_core.csv"
    path.write_text((HEAD + ROWS).replace(old, new))
    with pytest.raises(ValueError, match=sentence):
        listed(raw)
