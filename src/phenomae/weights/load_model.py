"""`load_model` returns a trained network from a run, a folder of weights or the hub."""

from phenomae.devices import Device, choose_device
from phenomae.models.network import Network
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.weights.io import load, read_config
from phenomae.weights.licence import licence_line, read_licence
from phenomae.weights.origin import find_weights
from phenomae.weights.public_sizes import is_published


def load_model(source: PathLike, *, device: Device = "auto") -> Network:
    """Return a trained network in eval mode: `load_model("RUN").embed(crops)`.

    `model.channels` are the names of the channels that the network expects, in order. Published
    weights have no channel names; `import_weights(..., channels="DNA,ER")` adds names. The licence
    of published weights is printed.

    Parameters
    ----------
    source
        A run, a folder of weights, or OWNER/NAME on the hub.
    device
        Device of the network; auto is a GPU if there is one, else the CPU.

    Raises
    ------
    ValueError
        If the weights do not exist, are damaged, are of an unknown family or cannot be fetched, or
        if `device` is cuda and there is no GPU.
    """
    target = choose_device(device)
    found = find_weights(source)
    model = load(found.folder)
    if is_published(read_config(found.folder)):
        info(f"{found.name}: {licence_line(read_licence(found.folder))}")
    return model.to(target)
