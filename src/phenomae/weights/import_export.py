"""Weights in and out of the public layout: `phenomae weights import` and `weights export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from phenomae import __version__
from phenomae.artefacts import Origin, artefact_folder, hash_file, whole_file, write_json
from phenomae.progress import info
from phenomae.weights import io as weights
from phenomae.weights.hub import fetch, is_hub_id
from phenomae.weights.licence import NOTICE, licence_line, plain, read_licence
from phenomae.weights.public_config import complete, write_config
from phenomae.weights.public_names import FAMILIES, publish
from phenomae.weights.public_sizes import (
    BESIDE,
    Blueprint,
    find_max_channels,
    is_published,
    look_up,
)

PUBLISHED = "published"
"""The key of `config.json` that holds the configuration which weights came with."""
_INTENSITY = "uint8/255"  # what public weights are trained on


@dataclass(frozen=True)
class Source:
    """Where weights come from."""

    folder: Path
    name: str
    """The folder's name, or the repository on the hub."""
    revision: str | None
    """The commit on the hub."""


def import_weights(
    source: str, out: Path, /, *, channels: str | None = None, overwrite: bool = False
) -> None:
    """Bring published weights into a folder of ours, for embed.

    Prints the licence they come under. No code in them is run: they are safetensors, or a
    `torch.save` archive of tensors alone.

    Parameters
    ----------
    source
        A folder with config.json and model.safetensors in the public layout, or OWNER/NAME on the
        hub.
    out
        Folder to write.
    channels
        Names of the channels the weights were trained on, in their order, comma between: DNA,ER.
        Where none are given they are called channel 1, channel 2, ...
    overwrite
        Replace `out` where it was made from other weights or under other names.

    Raises
    ------
    ValueError
        Where the source is neither, cannot be fetched, is damaged, holds more than tensors or
        another model, or where `channels` are not as many as the weights have.
    """
    found = _find(str(source))
    config = weights.read_config(found.folder)
    if not is_published(config):
        raise ValueError(f"{source} is in phenomae's own layout already: give it to embed as it is")
    model = weights.load(found.folder)
    model.channels = _name_channels(channels, model.channels)
    told = _provenance(found, config)
    info(f"{found.name}: {licence_line(told['licence'])}")
    origin = Origin(
        weights.KIND,
        {"layout": "phenomae", "channels": list(model.channels), **told},
        {"weights": weights.identify(found.folder)},
    )
    with artefact_folder(out, origin, overwrite) as folder:
        if folder is None:
            return
        told["source_hash"] = hash_file(found.folder / weights.TENSORS)
        weights.save(folder, model, {**told, "version": __version__, PUBLISHED: config})


def export_weights(source: Path, out: Path, /, *, overwrite: bool = False) -> None:
    """Write weights in the public layout, as imported or as pretrained here.

    What was imported comes out as it went in. What the public configuration has no key for stands
    in it under `phenomae`, so that import gives back the same network.

    Parameters
    ----------
    source
        A run of vit-mae or channel-mae, or what `weights import` wrote.
    out
        Folder to write.
    overwrite
        Replace `out` where it was made from other weights.

    Raises
    ------
    ValueError
        Where there are no weights, or those of a family that the public layout does not have.
    """
    config = weights.read_config(source)
    family = config.get("family")
    if not is_published(config) and family not in FAMILIES:
        raise ValueError(
            f"{source} is of family {family}, which the public layout does not have: it has "
            f"{' and '.join(FAMILIES)}"
        )
    model = weights.load(source)
    kept = config if is_published(config) else config.get(PUBLISHED)
    published = kept if isinstance(kept, dict) else {}
    rows = find_max_channels(published, len(model.channels))
    plan = Blueprint(model.family, model.settings, model.channels, rows)
    tensors = {name: tensor.detach().contiguous() for name, tensor in publish(model, rows).items()}
    beside = _beside(config, Path(source))
    try:
        public = complete(published or write_config(plan), tensors, plan, beside)
    except ValueError as error:
        raise ValueError(f"{source}: the key {PUBLISHED} is of other weights: {error}") from None
    origin = Origin(weights.KIND, {"layout": "public"}, {"weights": weights.identify(source)})
    with artefact_folder(out, origin, overwrite) as folder:
        if folder is None:
            return
        write_json(folder / weights.CONFIG, public)
        with whole_file(folder / weights.TENSORS) as partial:
            save_file(tensors, partial, metadata={"format": "pt"})
    if published:
        info(f"{out}: {licence_line(beside.get('licence'))}")


def _find(source: str) -> Source:
    folder = Path(source)
    if folder.is_dir():
        return Source(folder, folder.resolve().name, None)
    if folder.exists():
        raise ValueError(
            f"{source} is a file: give the folder that has {weights.CONFIG} and {weights.TENSORS}"
        )
    if not is_hub_id(source):
        raise ValueError(f"{source}: there is no such folder, and on the hub it is OWNER/NAME")
    fetched, commit = fetch(source, (weights.CONFIG, weights.TENSORS))
    return Source(fetched, source, commit)


def _provenance(found: Source, config: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept beside imported weights of what they are and whose."""
    beside = _beside(config, found.folder)
    return {
        "pixel_size_um": beside.get("pixel_size_um"),
        "intensity": beside.get("intensity", _INTENSITY),
        "source": found.name,
        "revision": found.revision,
        "licence": beside.get("licence"),
        "notice": NOTICE,
    }


def _name_channels(text: str | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that `text` gives the channels; those there are where it gives none."""
    given = tuple(name.strip() for name in (text or "").split(","))
    if given == ("",):
        return names
    if len(given) != len(names) or len({*given} - {""}) != len(names):
        raise ValueError(
            f"channels must be {len(names)} different names, as many as the weights have, comma "
            f"between: {text!r}"
        )
    return given


def _beside(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what is known of weights but is no public key; what is as everywhere is left out."""
    table = look_up(config, BESIDE) if is_published(config) else config
    size, intensity, licence = (
        look_up(table, key) for key in ("pixel_size_um", "intensity", "licence")
    )
    found: dict[str, Any] = {}
    if isinstance(size, float | int):
        found["pixel_size_um"] = size
    if isinstance(intensity, str) and intensity != _INTENSITY:
        found["intensity"] = intensity
    if named := read_licence(folder) or (plain(licence) if isinstance(licence, str) else None):
        found["licence"] = named
    return found
