"""`phenomae napari STORE PLATE/WELL`: opens the fields of wells in napari, or prints how."""

from collections.abc import Sequence
from importlib.util import find_spec

from phenomae.progress import info
from phenomae.store.napari_layers import Layer, describe_layers, find_fields, write_script
from phenomae.store.read import Store, open_store, read_field
from phenomae.urls import Location


def napari(store: Location, /, *wells: str, script: bool = False) -> None:
    """Open the fields of wells in napari; print a Python script that does it if it is not here.

    Each channel of each field is a layer with the name, color and intensity window that the store
    has for it, at its pixel size. The sites of a well are side by side, wells below each other.

    Parameters
    ----------
    store
        Folder or s3:// address of a store.
    wells
        Wells, written PLATE/WELL, or single sites, PLATE/WELL/SITE.
    script
        Print the script also where napari is installed.

    Raises
    ------
    ValueError
        If there is no store, no well is given, or the store has no such well; or if the script is
        printed, and the path of the store or of a field has a control character.
    """
    if not wells:
        raise ValueError("give the wells to open, written PLATE/WELL or PLATE/WELL/SITE")
    opened = open_store(store)
    layers = describe_layers(opened, find_fields(opened, wells))
    if not script and find_spec("napari") is not None:
        _open(opened, layers)
        return
    if not script:
        info("napari is not installed here: this script opens the fields where it is")
    print(write_script(opened, layers))


def _open(store: Store, layers: Sequence[Layer]) -> None:
    """Open the layers in a window of napari, and return when it is closed."""
    import napari  # pyright: ignore[reportMissingImports] (not one of our extras)

    pixels = {layer.field: read_field(store, layer.field) for layer in layers}
    viewer = napari.Viewer(title=str(store.path))
    for layer in layers:
        viewer.add_image(pixels[layer.field][layer.channel], **layer.shown)
    napari.run()
