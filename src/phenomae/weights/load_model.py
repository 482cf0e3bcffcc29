"""`load_model`: a trained network from a run, a folder of weights or the hub, ready to embed."""

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

    `model.channels` names the channels that it expects, in order. Published weights do not name
    theirs: import them with `import_weights(..., channels="DNA,ER")` to name them. For published
    weights the licence they come under is printed.

    Parameters
    ----------
    source
        A run, a folder of weights, or OWNER/NAME on the hub.
    device
        Where the network is put; auto is the GPU if there is one, else the CPU.

    Raises
    ------
    ValueError
        If there are no weights, if they are damaged, of an unknown family or cannot be fetched, or
        if there is no GPU and the device is cuda.
    """
    target = choose_device(device)
    found = find_weights(source)
    model = load(found.folder)
    if is_published(read_config(found.folder)):
        info(f"{found.name}: {licence_line(read_licence(found.folder))}")
    return model.to(target)
