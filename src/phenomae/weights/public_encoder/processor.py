"""Reads the numbers by which a model's images are scaled, from preprocessor_config.json.

The image processors of transformers are not used: they refuse intensities above 255, divide floats
from 0 to 1 by 255 again, round to 8 bits where they resize, and need other packages.
"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from phenomae.checks import require
from phenomae.weights.public_encoder.find_encoder import PROCESSOR, EncoderFiles
from phenomae.weights.public_encoder.json_file import read_json, read_side
from phenomae.weights.public_encoder.settings import PublicEncoderSettings

Filter = Literal["bilinear", "bicubic"]
_FILTERS: dict[Any, Filter] = {2: "bilinear", 3: "bicubic"}  # the numbers of PIL
_BYTE = 255
_SWITCHES = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
_RESAMPLE: dict[str, Filter] = {
    "ViT": "bilinear",
    "DINOv3ViT": "bilinear",
    "Bit": "bicubic",
    "CLIP": "bicubic",
    "DeiT": "bicubic",
}
"""The filter of a type of image processor of transformers whose file names none."""
_CROPPING = ("Bit", "CLIP", "DeiT")
"""Types that cut the centre of an image unless told otherwise."""
_SUFFIX = re.compile("(ImageProcessor|FeatureExtractor)(Fast|Pil)?$")


@dataclass(frozen=True)
class Processor:
    """How intensities from 0 to 1 become the numbers that a model sees."""

    input_size: int
    """Side of the image in pixels."""
    resample: Filter | None
    """The filter that resizes images, with antialiasing; None: not known, as none is resized."""
    scale: float
    """Factor before mean and std; 1 where images from 0 to 255 are divided by 255."""
    mean: tuple[float, ...]
    """One number for all channels of the model, or one for each."""
    std: tuple[float, ...]

    def record(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}


def read_processor(
    files: EncoderFiles,
    native_size: int | None,
    channels: int,
    processor_type: str,
    settings: PublicEncoderSettings,
) -> Processor:
    """Return how images of a model are scaled; `settings` take precedence over the file.

    `native_size` is the size for which the model was built, and `processor_type` the type of image
    processor where the file names none. The centre crop of the file only sets the size: cut from
    crops of a field, it would leave out their edges. Raises ValueError if the file is missing and
    `settings` do not replace it, or if it has a number that is not supported.
    """
    path = files.folder / PROCESSOR
    mean, std = settings.image_mean, settings.image_std
    if not path.is_file() and mean is None:
        raise ValueError(
            f"{files.name} has no {PROCESSOR}, which says how its images are scaled: copy that "
            "file from the model's page, or give image_mean and image_std"
        )
    table = _read_table(path) if path.is_file() else {}
    kind = _read_type(table) or processor_type
    listed = _read_size(table, kind, path) if table and not settings.input_size else None
    size = settings.input_size or listed or native_size
    require(size is not None, "input_size", f"given for {files.name}, whose files lack it", None)
    assert size is not None
    resample = _read_filter(table, kind, path)
    if resample is None and settings.crop_size not in (None, size):
        raise ValueError(
            f"{path} names no filter (resample) to resize crops, and that of {kind} is not known: "
            f"leave out crop_size, or give {size}"
        )
    scale = 1.0  # because means that are given are of intensities from 0 to 1
    if mean is None or std is None:
        scale = _read_scale(table, path)
        mean, std = _read_normalisation(table, path)
    for name, numbers in (("image_mean", mean), ("image_std", std)):
        fits = len(numbers) in (1, channels)
        require(fits, name, f"one number or {channels}, as the model has channels", [*numbers])
    return Processor(size, resample, scale, mean, std)


def _read_table(path: Path) -> dict[str, Any]:
    """Return the settings of a processor that are there."""
    # Files written by transformers have null for settings that a processor does not use. A switch
    # that is null is off, and one that is not there is on, in most types.
    found = read_json(path)
    return {key: value for key, value in found.items() if value is not None or key in _SWITCHES}


def _read_type(table: dict[str, Any]) -> str:
    """Return the type of image processor, such as ViT; empty if the file names none."""
    name = table.get("image_processor_type", table.get("feature_extractor_type", ""))
    return _SUFFIX.sub("", str(name))


def _is_on(table: dict[str, Any], switch: str, path: Path, default: bool = True) -> bool:
    value = table.get(switch, default)
    if not isinstance(value, bool | None):
        raise ValueError(f"{path}: {switch} must be true, false or null, not {value!r}")
    return bool(value)


def _read_size(table: dict[str, Any], kind: str, path: Path) -> int | None:
    """Return the side of the images that a processor makes, if it changes their size."""
    if _is_on(table, "do_center_crop", path, default=kind in _CROPPING):
        key = "crop_size"
    elif _is_on(table, "do_resize", path) and "size" in table:
        key = "size"
    else:
        return None
    side = read_side(table.get(key))
    if side is None:
        raise ValueError(
            f"{path}: {key} must be the side of a square, not {table.get(key)!r}; input_size sets "
            "it"
        )
    return side


def _read_filter(table: dict[str, Any], kind: str, path: Path) -> Filter | None:
    number = table.get("resample")
    if number is None:
        return _RESAMPLE.get(kind)
    if not isinstance(number, int) or number not in _FILTERS:
        raise ValueError(f"{path}: resample must be 2 (bilinear) or 3 (bicubic), not {number!r}")
    return _FILTERS[number]


def _read_scale(table: dict[str, Any], path: Path) -> float:
    """Return the factor for intensities from 0 to 1, of one that is for those from 0 to 255."""
    if not _is_on(table, "do_rescale", path):
        return float(_BYTE)
    factor = table.get("rescale_factor", 1 / _BYTE)
    if not _is_number(factor) or factor <= 0:
        raise ValueError(f"{path}: rescale_factor must be a number above 0, not {factor!r}")
    # Exactly 1 for 1/255 in any rounding, as 0.00392156862745098 is written.
    return 1.0 if abs(factor * _BYTE - 1) < 1e-6 else factor * _BYTE


def _read_normalisation(
    table: dict[str, Any], path: Path
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not _is_on(table, "do_normalize", path):
        return (0.0,), (1.0,)
    found = []
    for key in ("image_mean", "image_std"):
        value = table.get(key)
        numbers: list[Any] = value if isinstance(value, list) else [value]
        if not numbers or not all(map(_is_number, numbers)):
            raise ValueError(f"{path}: {key} must be numbers, not {value!r}; the setting gives it")
        found.append(tuple(map(float, numbers)))
    if min(found[1]) <= 0:
        raise ValueError(f"{path}: image_std must be above 0, not {list(found[1])}")
    return found[0], found[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6
