"""Reads the numbers by which a model's images are scaled, from preprocessor_config.json.

The image processors of transformers are not used: they refuse intensities above 255, divide floats
from 0 to 1 by 255 again, round to 8 bits where they resize, and need other packages.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from phenomae.checks import require
from phenomae.weights.public_encoder.find_encoder import PROCESSOR, EncoderFiles
from phenomae.weights.public_encoder.json_file import read_json, read_side
from phenomae.weights.public_encoder.settings import PublicEncoderSettings

Filter = Literal["bilinear", "bicubic"]
_FILTERS: dict[Any, Filter] = {2: "bilinear", 3: "bicubic"}  # the numbers of PIL
_BYTE = 255


@dataclass(frozen=True)
class Processor:
    """How intensities from 0 to 1 become the numbers that a model sees."""

    input_size: int
    """Side of the image in pixels."""
    resample: Filter
    """The filter that resizes images, with antialiasing."""
    scale: float
    """Factor before mean and std; 1 where images from 0 to 255 are divided by 255."""
    mean: tuple[float, ...]
    """One number for all channels of the model, or one for each."""
    std: tuple[float, ...]

    def record(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}


def read_processor(
    files: EncoderFiles, native_size: int | None, channels: int, settings: PublicEncoderSettings
) -> Processor:
    """Return how images of a model are scaled; `settings` take precedence over the file.

    `native_size` is the size for which the model was built. The centre crop of the file only sets
    the size: cut from crops of a field, it would leave out their edges. Raises ValueError if the
    file is missing and `settings` do not replace it, or if it has a number that is not supported.
    """
    path = files.folder / PROCESSOR
    given = settings.image_mean is not None
    if not path.is_file() and not given:
        raise ValueError(
            f"{files.name} has no {PROCESSOR}, which says how its images are scaled: copy that "
            "file from the model's page, or give image_mean and image_std"
        )
    table = read_json(path) if path.is_file() else {}
    # Files written by transformers have null for settings that a processor does not use.
    table = {key: value for key, value in table.items() if value is not None}
    size = settings.input_size or _read_size(table, path) or native_size
    require(size is not None, "input_size", f"given for {files.name}, whose files lack it", None)
    assert size is not None
    mean, std = settings.image_mean, settings.image_std
    if mean is None or std is None:
        mean, std = _read_normalisation(table, path)
    for name, numbers in (("image_mean", mean), ("image_std", std)):
        fits = len(numbers) in (1, channels)
        require(fits, name, f"one number or {channels}, as the model has channels", [*numbers])
    return Processor(size, _read_filter(table, path), _read_scale(table, path), mean, std)


def _read_size(table: dict[str, Any], path: Any) -> int | None:
    """Return the side of the images that a processor makes, if it changes their size."""
    for switch, key in (("do_center_crop", "crop_size"), ("do_resize", "size")):
        if table.get(switch, key in table) and key in table:
            side = read_side(table[key])
            if side is None:
                raise ValueError(
                    f"{path}: {key} must be the side of a square, not {table[key]!r}; input_size "
                    "sets it"
                )
            return side
    return None


def _read_filter(table: dict[str, Any], path: Any) -> Filter:
    number = table.get("resample", 2)
    if not isinstance(number, int) or number not in _FILTERS:
        raise ValueError(f"{path}: resample must be 2 (bilinear) or 3 (bicubic), not {number!r}")
    return _FILTERS[number]


def _read_scale(table: dict[str, Any], path: Any) -> float:
    """Return the factor for intensities from 0 to 1, of one that is for those from 0 to 255."""
    if not table.get("do_rescale", True):
        return float(_BYTE)
    factor = table.get("rescale_factor", 1 / _BYTE)
    if not _is_number(factor) or factor <= 0:
        raise ValueError(f"{path}: rescale_factor must be a number above 0, not {factor!r}")
    # Exactly 1 for 1/255 in any rounding, as 0.00392156862745098 is written.
    return 1.0 if abs(factor * _BYTE - 1) < 1e-6 else factor * _BYTE


def _read_normalisation(
    table: dict[str, Any], path: Any
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if table.get("do_normalize") is False:
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
