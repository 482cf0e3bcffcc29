"""The registry of layouts: a layout is one module and one line, and both ways of choosing it work.

The toy layout of this file is what a new microscope needs: nothing else in `src/` knows it.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from phenomae.cli import run
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.table import LAYOUTS, load_layout
from phenomae.images.read import list_fields
from phenomae.images.settings import LayoutSettings

TOY = '''
"""Images beside a file toy.txt with one line per image: plate, well, channel, file name."""

from phenomae.images.fields import Listing, Place, RawFile
from phenomae.images.layouts.index_files import find_indices
from phenomae.images.layouts.layout import Layout


def find_toy(raw):
    return find_indices(raw, lambda name: name == "toy.txt")


def list_toy(raw, indices, settings):
    files = []
    for index in indices:
        for line in index.read_text().splitlines():
            plate, well, channel, name = line.split()
            files.append(RawFile(plate, well, 1, channel, Place(str(index.parent / name))))
    return Listing(files, pixel_sizes_um={plate: 0.5})


LAYOUT = Layout("toy", "toy.txt", find_toy, list_toy)
'''
WELLS, CHANNELS = ("A01", "B02"), ("DNA", "ER")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One module and one registration."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/toy_layout.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setitem(LAYOUTS, "toy", "toy_layout")


def pixels(well: str, channel: str) -> np.ndarray:
    rng = np.random.default_rng([WELLS.index(well), CHANNELS.index(channel)])
    return rng.integers(100, 4000, (140, 150), dtype=np.uint16)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    lines = []
    for well in WELLS:
        for channel in CHANNELS:
            name = f"{channel}-{well}.tif"
            tifffile.imwrite(folder / name, pixels(well, channel))
            lines.append(f"T1 {well} {channel} {name}\n")
    (folder / "toy.txt").write_text("".join(lines))
    return folder


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("flags", [["--layout", "toy"], []])
def test_a_toy_layout_is_ingested(raw: Path, tmp_path: Path, flags: list[str], capsys):
    store = tmp_path / "store"
    assert run(["ingest", str(raw), str(store), "--workers", "1", *flags]) == 0
    printed = capsys.readouterr().err
    assert (f"layout toy, because of {raw}/toy.txt" in printed) == (flags == [])
    for well in WELLS:
        array = zarr.open_array(store / f"T1.zarr/{well[0]}/{well[1:]}/0/0", mode="r")
        expected = np.stack([pixels(well, channel) for channel in CHANNELS])
        np.testing.assert_array_equal(np.squeeze(array[:]), expected)


@pytest.mark.usefixtures("toy")
def test_the_registry_is_what_settings_and_errors_know(tmp_path: Path):
    with pytest.raises(ValueError, match=r"layout must be one of auto, jump-lite, .*toy, not tov"):
        LayoutSettings(layout="tov")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.txt").touch()
    with pytest.raises(ValueError, match=r"other does not have the layout toy: looked for toy.txt"):
        list_fields(tmp_path / "other", LayoutSettings(layout="toy"))
    with pytest.raises(
        ValueError, match=r"other has no known layout: looked for .*toy.txt \(toy\)"
    ):
        list_fields(tmp_path / "other")


@pytest.mark.usefixtures("toy")
def test_auto_takes_the_first_that_fits_and_names_the_others(raw: Path, capsys):
    (raw / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,URL_OrigDNA\nL1,A01,DNA-A01.tif\n"
    )
    assert list_fields(raw).plate_names == ["L1"]
    assert "layout loaddata, because of" in (printed := capsys.readouterr().err)
    assert "load_data.csv; ignored toy" in printed


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_defined_where_it_is_listed(name: str):
    layout = load_layout(name)
    assert isinstance(layout, Layout)
    assert layout.name == name
    assert layout.sign


def test_help_lists_the_registry(capsys):
    assert run(["ingest", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"One of auto, {', '.join(LAYOUTS)}" in words


def test_only_the_layout_that_is_used_is_imported():
    code = (
        "import sys; from pathlib import Path\n"
        "from phenomae.images.read import list_fields\n"
        "from phenomae.images.settings import LayoutSettings\n"
        "try: list_fields(Path('.'), LayoutSettings(layout='cellvoyager'))\n"
        "except ValueError: pass\n"
        "print([name for name in sys.modules if 'images.layouts.' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cellvoyager" in done.stdout
    assert "phenix" not in done.stdout
    assert "rxrx" not in done.stdout


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"layout": "phoenix"}, "layout must be one of auto, jump-lite, loaddata, .*, not phoenix"),
        ({"plane": "last"}, "plane must be a number or max, not 'last'"),
        ({"layout": "phenix", "pattern": "x"}, "pattern and layout 'phenix' exclude each other"),
        ({"layout": "pattern"}, "layout 'pattern' needs the setting pattern"),
        ({"pattern": "x", "images": "y"}, "pattern and images exclude each other: leave one out"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, str], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        LayoutSettings(**settings)  # type: ignore[arg-type]


def test_settings_are_checked_on_the_command_line_too(raw: Path, tmp_path: Path, capsys):
    for flags, sentence in (
        (["--plane", "last"], "plane must be a number or max, not 'last'"),
        (["--well-column", "a,b,c"], "--well-column must be Well or Row,Column, not 'a,b,c'"),
        (["--layout", "phoenix"], "layout must be one of auto, jump-lite, loaddata"),
    ):
        assert run(["ingest", str(raw), str(tmp_path / "store"), *flags]) != 0
        assert sentence in capsys.readouterr().err


def test_what_is_not_there_or_is_a_file(tmp_path: Path):
    with pytest.raises(ValueError, match="gone: there is no such file or folder"):
        list_fields(tmp_path / "gone")
    (tmp_path / "a.tif").touch()
    pattern = r"(?P<well>\w\d\d)(?P<channel>.)"
    with pytest.raises(ValueError, match=r"a.tif is a file: with a pattern it must be a folder"):
        list_fields(str(tmp_path / "a.tif"), LayoutSettings(pattern=pattern))
