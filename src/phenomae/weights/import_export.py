"""Converts weights from and to the public layout: `phenomae weights import` and `weights export`.

Exporting imported float32 weights restores their tensors to the bit and the same `config.json`.
"""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from phenomae import __version__
from phenomae.artefacts import artefact_folder
from phenomae.models.network import Network
from phenomae.outputs import Output
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.signatures import Origin
from phenomae.weights import io as weights
from phenomae.weights.auto_class import (
    AUTO_MAP,
    CODE,
    ENCODER,
    encoder_sizes,
    has_own_class,
    read_code,
)
from phenomae.weights.licence import (
    CARD,
    NOTICE,
    check_licence,
    join_licence,
    licence_line,
    read_licence,
)
from phenomae.weights.model_card import (
    RESULTS,
    CardSettings,
    Scores,
    choose_licence,
    read_scores,
    write_card,
)
from phenomae.weights.origin import WeightsOrigin, find_weights
from phenomae.weights.public_config import complete, write_config
from phenomae.weights.public_names import FAMILIES, publish
from phenomae.weights.public_sizes import (
    BESIDE,
    Blueprint,
    find_max_channels,
    is_published,
    look_up,
)
from phenomae.whole_files import hash_file, whole_file, write_bytes, write_json

PUBLISHED = "published"
"""Key of phenomae's `config.json` under which the public configuration is kept unchanged."""
_INTENSITY = "uint8/255"  # pixels on which the public weights were trained


class Weights(Output):
    """A folder of weights that was written by `weights import` or `weights export`."""

    def load(self) -> Network:
        """Return the network on the CPU in eval mode; see `phenomae.load_model`."""
        return weights.load(self.path)


def import_weights(
    source: PathLike, out: PathLike, /, *, channels: str | None = None, overwrite: bool = False
) -> Weights:
    """Convert published weights to phenomae's own layout, in which channels have names.

    Prints the licence of the weights. No code in the files is run: only safetensors files, and
    `torch.save` archives that hold nothing but tensors, are read.

    Parameters
    ----------
    source
        A folder with config.json and model.safetensors in the public layout, or OWNER/NAME on the
        hub.
    out
        Folder to write.
    channels
        Names of the channels that the weights were trained on, comma-separated and in the order of
        the training: DNA,ER. Default: channel 1, channel 2, ...
    overwrite
        Replace `out` if it was made from other weights or with other channel names.

    Raises
    ------
    ValueError
        If the source is neither a folder nor on the hub, cannot be fetched, is damaged, holds
        objects other than tensors, or is in another layout, or if the number of `channels` is not
        that of the weights.
    """
    out = Path(out)
    found = find_weights(source)
    config = weights.read_config(found.folder)
    if not is_published(config):
        raise ValueError(f"{source} is in phenomae's own layout already: use it as it is")
    model = weights.load(found.folder)
    # After loading, because the public layout has no channel names.
    model.channels = _name_channels(channels, model.channels)
    provenance = _provenance(found, config)
    info(f"{found.name}: {licence_line(provenance['licence'])}")
    origin = Origin(
        weights.KIND,
        {
            "layout": "phenomae",
            "channels": list(model.channels),
            **provenance,
            "licence": join_licence(provenance["licence"]),  # as in version 0.1
        },
        {"weights": weights.identify(found.folder)},
    )
    with artefact_folder(out, origin, overwrite, resume=False) as folder:
        if folder is None:
            return Weights(out)
        provenance["source_hash"] = hash_file(found.folder / weights.TENSORS)
        weights.save(folder, model, {**provenance, "version": __version__, PUBLISHED: config})
    return Weights(out)


def export_weights(
    source: PathLike,
    out: PathLike,
    /,
    *,
    card: CardSettings = CardSettings(),  # noqa: B008 (frozen)
    overwrite: bool = False,
) -> Weights:
    """Write the weights of a run, or imported weights, in the public layout, with a model card.

    Imported weights are written as they were before the import, in float32. Settings without a
    public key are written under the key `phenomae`, so that an import restores the same network.
    Beside weights that phenomae trained is a file of code with which transformers loads them.

    Parameters
    ----------
    source
        A run of vit-mae or channel-mae, or a folder that `weights import` wrote.
    out
        Folder to write.
    overwrite
        Replace `out` if it was made from other weights.

    Raises
    ------
    ValueError
        If there are no weights, if the public layout does not have their family or decoder, if
        `results` are no results, or if imported weights have another licence.
    """
    source, out = Path(source), Path(out)
    config = weights.read_config(source)
    model = _load_exportable(source, config)
    kept = config if is_published(config) else config.get(PUBLISHED)
    published = kept if isinstance(kept, dict) else {}
    rows = find_max_channels(published, len(model.channels))
    plan = Blueprint(model.family, model.settings, model.channels, rows)
    tensors = {name: tensor.detach().contiguous() for name, tensor in publish(model, rows).items()}
    beside, scores = _beside(config, source), read_scores(card.results)
    licence = choose_licence(card, beside.get("licence"), source)
    if licence is not None:
        beside["licence"] = licence
    base = published or {**write_config(plan), "auto_map": AUTO_MAP}
    sizes = {ENCODER: encoder_sizes(plan, tensors)} if has_own_class(base) else {}
    try:
        public = complete(base, tensors, plan, beside | sizes)
    except ValueError as error:
        message = f"{source}: the key {PUBLISHED} belongs to other weights: {error}"
        raise ValueError(message) from None
    text = write_card(source, config, plan, licence, scores, bool(sizes))
    with artefact_folder(out, _export_origin(source, card, scores), overwrite, False) as folder:
        if folder is None:
            return Weights(out)
        _write_export(folder, public, tensors, text)
    if published:
        info(f"{out}: {licence_line(beside.get('licence'))}")
    return Weights(out)


def _load_exportable(source: Path, config: dict[str, Any]) -> Network:
    """Return the network of weights; raises ValueError if the public layout does not have it."""
    family = config.get("family")
    if not is_published(config) and family not in FAMILIES:
        raise ValueError(
            f"{source} is of family {family}, which the public layout does not have: it has "
            f"{' and '.join(FAMILIES)}"
        )
    model = weights.load(source)
    if model.settings.decoder_attention != "self":
        raise ValueError(
            f"{source} has a decoder with cross-attention, which the public layout does not have"
        )
    return model


def _write_export(
    folder: Path, public: dict[str, Any], tensors: dict[str, Tensor], card: str
) -> None:
    write_json(folder / weights.CONFIG, public)
    write_bytes(folder / CARD, card.encode())
    if has_own_class(public):
        write_bytes(folder / CODE, read_code())
    with whole_file(folder / weights.TENSORS) as partial:
        save_file(tensors, partial, metadata={"format": "pt"})


def _export_origin(source: Path, card: CardSettings, scores: Scores | None) -> Origin:
    """Return what determines an export; what is not given is not recorded, as in version 0.1."""
    settings = {"layout": "public"} | ({"licence": card.licence} if card.licence else {})
    sources = {"weights": weights.identify(source)}
    return Origin(weights.KIND, settings, sources | ({RESULTS: scores.identity} if scores else {}))


def _provenance(found: WeightsOrigin, config: dict[str, Any]) -> dict[str, Any]:
    """Return what phenomae's `config.json` records on the source of imported weights."""
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
    """Return the channel names in `text`, or `names` if it is empty."""
    given = tuple(name.strip() for name in (text or "").split(","))
    if given == ("",):
        return names
    if len(given) != len(names) or len({*given} - {""}) != len(names):
        raise ValueError(
            f"channels must be {len(names)} different names, as many as the weights have, "
            f"comma-separated, not {text!r}"
        )
    return given


def _beside(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return pixel size, intensity convention and licence, which have no key in the public layout.

    Values that are unknown, or that are the default of the public weights, are left out.
    """
    table = look_up(config, BESIDE) if is_published(config) else config
    size, intensity, licence = (
        look_up(table, key) for key in ("pixel_size_um", "intensity", "licence")
    )
    found: dict[str, Any] = {}
    if isinstance(size, float | int):
        found["pixel_size_um"] = size
    if isinstance(intensity, str) and intensity != _INTENSITY:
        found["intensity"] = intensity
    if named := read_licence(folder) or check_licence(licence):
        found["licence"] = named
    return found
