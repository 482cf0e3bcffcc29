"""Reconstructs a crop of a store with the network of a run: what the app `explore` shows of it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from phenomae.crops.reader import CropReader
from phenomae.embedding.channels import match_channels
from phenomae.models.masking import MaskedNetwork
from phenomae.paths import PathLike
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.store.read import Store
from phenomae.weights.io import load, read_config


class Reconstructor:
    """A masked autoencoder and the store whose crops it reconstructs."""

    def __init__(self, run: PathLike, store: Store) -> None:
        """Load the network; raises ValueError if it reconstructs nothing or has other channels."""
        run = Path(run)
        model = load(run)
        if not isinstance(model, MaskedNetwork):
            raise ValueError(
                f"{run} is a {model.family}, which reconstructs no pixels: leave out run"
            )
        self._objective = MaskedObjective(model, seed=0).eval()
        channels = match_channels(store, model, "")
        pixel_size_um = read_config(run).get("pixel_size_um")
        self._reader = CropReader([store], "crops", channels, pixel_size_um)
        self._size = int(model.settings.crop_size)

    @property
    def side(self) -> int:
        """Side of a crop in pixels of the store."""
        return int(self._reader.sides(self._size)[0])

    def draw(self, field: int, top: int, left: int) -> bytes:
        """Return a PNG with input, masked input and reconstruction of a crop, a column per channel.

        The mask is the same each time. Raises ValueError if the crop reaches beyond its field.
        """
        fields, tops, lefts = np.array([[field], [top], [left]], dtype=np.int64)
        with torch.inference_mode(), TemporaryDirectory() as folder:
            crops = self._reader.crops(fields, tops, lefts, self._size)
            path = Path(folder) / "reconstruction.png"
            self._objective.draw(path, crops)
            return path.read_bytes()
