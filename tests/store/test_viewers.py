"""Other tools open a store: ngio, by whose reading plates, pixels, channels and sizes agree."""

import ngio
import numpy as np
import pytest
import tifffile

from phenomae.images.read import list_fields
from phenomae.store.colors import choose_colors
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.read import open_store


def test_ngio_reads_what_the_files_hold(write_screen, tmp_path):
    raw = write_screen(wells=("A01", "B12"), sites=3, channels=("ER", "DNA", "RNA"))
    ingest(raw, tmp_path / "store", settings=IngestSettings(pixel_size_um=0.65))
    plate = ngio.open_ome_zarr_plate(tmp_path / "store/P1.zarr", mode="r")
    assert (plate.rows, plate.columns) == (["A", "B"], ["01", "12"])
    fields = list_fields(raw).fields
    images = plate.get_images(max_workers=1)
    assert len(images) == len(fields) == 6
    for field in fields:
        row, column = field.well[0], field.well[1:]
        image = plate.get_image(row=row, column=column, image_path=str(field.site - 1)).get_image()
        expected = np.stack([tifffile.imread(image.planes[0].url) for image in field.images])
        np.testing.assert_array_equal(image.get_as_numpy(axes_order=["c", "y", "x"]), expected)
        assert image.channel_labels == ["ER", "DNA", "RNA"]
        assert (image.pixel_size.x, image.pixel_size.y) == (0.65, 0.65)
        assert image.pixel_size.space_unit == "micrometer"


def test_ngio_reads_windows_and_colours(write_screen, tmp_path):
    raw = write_screen(channels=("ER", "DNA", "mTagX"))
    ingest(raw, tmp_path / "store")
    plate = ngio.open_ome_zarr_plate(tmp_path / "store/P1.zarr", mode="r")
    shown = plate.get_image(row="A", column="01", image_path="0").get_image().channels_meta.channels
    fields = open_store(tmp_path / "store").fields
    for channel, low, high in zip(
        shown, fields["window_low"][0], fields["window_high"][0], strict=True
    ):
        visible = channel.channel_visualisation
        assert (visible.start, visible.end, visible.max) == (low, high, 65535)
    assert [it.channel_visualisation.color for it in shown] == ["00FF00", "0000FF", "FFFF00"]


@pytest.mark.parametrize(
    ("channels", "colors"),
    [
        (["DNA", "ER", "RNA", "AGP", "Mito"], ["0000FF", "00FF00", "FFFF00", "FF8000", "FF0000"]),
        (["HOECHST 33342", "Alexa 647", "Alexa 568"], ["0000FF", "FF0000", "FF8000"]),
        (["FKHR-GFP", "DAPI"], ["00FF00", "0000FF"]),
        (["1", "2", "10"], ["0000FF", "00FF00", "FFFF00"]),
        (["Actin", "Golgi", "DNA"], ["FF8000", "00FF00", "0000FF"]),
        (["Brightfield", "other"], ["FFFFFF", "0000FF"]),
        (["TERT", "ERK", "merged"], ["0000FF", "00FF00", "FFFF00"]),
        ([], []),
    ],
)
def test_stains_have_the_colours_of_custom_and_others_what_is_left(channels, colors):
    assert choose_colors(channels) == colors


def test_colours_differ_while_they_last():
    assert len(set(choose_colors([f"w{index}" for index in range(8)]))) == 8
    assert len(choose_colors([f"w{index}" for index in range(20)])) == 20
