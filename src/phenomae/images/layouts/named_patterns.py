"""File names that instruments write, each with a name that the setting `pattern` takes.

Every example is a name that a maker's manual, another program's source or a public data set shows.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_ROWS = "[A-Z]{1,2}"
_TIFF = r"\.(?i:tiff?)"
_GUID = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
# BR1__2020-11-05T19_51_35-Measurement1, which Harmony writes; __ may also be in other names.
_MEASUREMENT = re.compile(r"__[0-9]{4}-[0-9]{2}-[0-9]{2}.*", re.DOTALL)
# Folders of an instrument that are inside of the folder of a plate.
_INNER = re.compile(r"images?|data|projection|(?:timepoint|zstep)_[0-9]+", re.IGNORECASE)


@dataclass(frozen=True)
class NamedPattern:
    """The file names of an instrument."""

    instrument: str
    pattern: str
    """Regular expression with the groups of the setting `pattern`, for the name of a file."""
    examples: tuple[str, ...]
    may_be_numbers: bool = False
    """Whether wells may be given by number only, which needs the setting `plate_size`."""


NAMED_PATTERNS: dict[str, NamedPattern] = {
    "phenix-names": NamedPattern(
        "Opera Phenix and Operetta (Harmony), without the index",
        r"r(?P<row>\d+)c(?P<column>\d+)f(?P<site>\d+)p(?P<plane>\d+)(?:rc\d+)?-ch(?P<channel>\d+)"
        rf"(?:sk(?P<time>\d+))?(?:fk\d+)?(?:fl\d+)?{_TIFF}",
        ("r01c01f01p01-ch1sk1fk1fl1.tiff", "r04c17f01p07-ch1sk1fk1fl1.tiff"),
    ),
    "imagexpress-names": NamedPattern(
        "ImageXpress (MetaXpress), without the HTD file",
        # A wave has one digit or two; the 36 characters of a GUID follow it without a separator.
        rf"(?P<plate>[^/]+)_(?P<well>{_ROWS}\d\d)(?:_s(?P<site>\d+))?_w(?P<channel>\d\d?)"
        rf"(?:{_GUID})?{_TIFF}",
        (
            "Plate1_A01_s1_w1.TIF",
            "PLATE_A01_s1_w11C78E18A-356E-48EC-B204-3F4379DC43AB.tif",
            "ADSAStaphInfection2_A01_w2247376DD-6ADD-442D-AE47-F54A05F3EA94.tif",
        ),
    ),
    "cellomics": NamedPattern(
        "ArrayScan and CellInsight (Cellomics)",
        # Names of the EVOS end in the same way, but count time points and planes in front.
        r"(?!.*_p\d+(?:_z\d+)?_\d+_[A-Z]\d\df)(?:(?P<plate>[^/]+?)(?:_|(?=i3t)))?"
        r"(?:i3t(?P<time>\d{3}))?"
        rf"(?P<well>{_ROWS}\d\d)f(?P<site>\d{{2,3}})d(?P<channel>\d){_TIFF}",
        ("MFGTMP_140206180002_A01f00d0.TIF", "A01f01d2.TIF", "020506plateruni3t001A01f01d2.TIF"),
    ),
    "scanr": NamedPattern(
        "ScanR: wells by name, or by number with --plate-size",
        rf"(?:(?={_ROWS}\d+--W\d)|-*W)(?P<well>(?:{_ROWS})?\d+)(?:--W\d+)?--P(?P<site>\d+)"
        rf"--Z(?P<plane>\d+)--T(?P<time>\d+)--(?P<channel>[^/]+?){_TIFF}",
        (
            "B2--W00014--P00001--Z00000--T00000--TRITC.tif",
            "A1--W00001--P00001--Z00000--T00000--Alexa 488.tif",
            "--W00088--P00001--Z00000--T00000--nucleus-dapi.tif",
        ),
        may_be_numbers=True,
    ),
    "incell": NamedPattern(
        "IN Cell Analyzer",
        rf"(?:(?P<plate>[^/]+)_)?(?P<row>{_ROWS}) - (?P<column>\d+)\((?:fld (?P<site>\d+) )?"
        r"wv (?P<channel>[^/)]+?)(?: z (?P<plane>\d+))?(?: ?-? ?time (?P<time>\d+) - \d+ ?ms)?\)"
        rf"{_TIFF}",
        (
            "A - 01(fld 1 wv DAPI - DAPI).tif",
            "Plate1_B - 01(fld 01 wv 390 - Blue).tif",
            "A - 03(wv DAPI - DAPI).tif",
            "A - 01(fld 1 wv UV - DAPI z 3 time 2 - 2636ms).tif",
            "B - 02(fld 01 wv Blue - FITC - time 01 - 0 ms).tif",
        ),
    ),
    "cq1": NamedPattern(
        "CQ1: wells by number, with --plate-size",
        r"W(?P<well>\d+)F(?P<site>\d+)T(?P<time>\d+)Z(?P<plane>\d+)C(?P<channel>\d+)" + _TIFF,
        ("W0001F0001T0001Z001C1.tif", "W0262F0001T0001Z000C2.tif"),
        may_be_numbers=True,
    ),
    "cellvoyager-names": NamedPattern(
        "CellVoyager (CV7000, CV8000), without the MLF file",
        rf"[^/]*_(?P<well>{_ROWS}\d\d)_T(?P<time>\d+)F(?P<site>\d+)L\d+A\d+Z(?P<plane>\d+)"
        r"C(?P<channel>\d+)\.(?i:tiff?|png)",
        ("AssayPlate_Greiner_#655090_B02_T0001F004L01A01Z01C01.tif",),
    ),
}


def folder_of_plate(path: Path) -> Path:
    """Return the folder of the plate of an instrument's file.

    Folders inside of it (Images, Image, data, Projection, TimePoint_1, ZStep_1) are not the plate.
    """
    folders = path.absolute().parents
    return next((one for one in folders if not _INNER.fullmatch(one.name)), folders[0])


def plate_of_folder(path: Path) -> str:
    """Return the plate of an instrument's file: the name of the folder of the plate.

    The date of a measurement after `__`, which Harmony writes, is left out.
    """
    name = folder_of_plate(path).name
    return _MEASUREMENT.sub("", name) or name
