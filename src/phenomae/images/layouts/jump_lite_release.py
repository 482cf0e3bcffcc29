"""What the files of JUMP-Lite do not say themselves: channels, pixel sizes, folders, releases."""

import hashlib
from collections.abc import Sequence

CHANNELS = ("AGP", "DNA", "ER", "Mito", "RNA")
"""The first axis of every array (README of the release)."""

# jump-cellpainting/datasets, metadata/microscope_config.csv, which calls source_2 "2".
PIXEL_SIZES_UM = {
    "source_2": 0.65,
    "source_3": 0.597976,
    "source_4": 0.597976,
    "source_5": 0.64974,
    "source_6": 0.646187,
    "source_7": 0.65,
    "source_8": 0.7032,
    "source_13": 0.65,
}
"""Micrometres per pixel of each source's microscope."""

# Where the tables and the stores are, relative to RAW: in RAW itself, or as they are below
# s3://cellpainting-gallery/cpg0016-jump/source_all in the releases of September and August 2026.
TABLE_FOLDERS = (
    "",
    "workspace/publication_data/2026_jump_lite/metadata/v1.0",
    "workspace/metadata/jump_lite/v1.0",
)
STORE_FOLDERS = (
    "",
    "images/2026_jump_lite_v1.0/images_compressed",
    "images_compressed/jump_lite/v1.0",
)

# Both call themselves v1.0. The hash is site_key_sha256 of their metadata_manifest.json.
_RELEASES = {
    "4ea6ea3f5457c33a1412a80a89d8696d4f8e77474cf449e75db7ce6ba98685e2": "v1.0 of September 2026",
    "399e703bc924a19f7c3827db3c711373306e3d943d2f12cf56d0a368f5d13961": "v1.0 of August 2026",
}


def describe_release(keys: Sequence[str]) -> str:
    """Return which release of JUMP-Lite an index with these keys is, and its number of sites."""
    digest = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()
    name = _RELEASES.get(digest, "a release that is not known here, or a part of one")
    return f"{len(keys):,} sites of JUMP-Lite, {name} (site_key_sha256 {digest})"
