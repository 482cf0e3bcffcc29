"""Prediction of local energies: the objective of `energy-mae`."""

from typing import Any

import torch

from phenomae.crops.tensors import network_input
from phenomae.models.vit.energy_mae import EnergyMae
from phenomae.pretraining.data import Data
from phenomae.pretraining.objectives.masked import MaskedObjective

_SAMPLE = 128  # crops, one per field, whose energies are standardised


class EnergyObjective(MaskedObjective):
    """Predicts the energies of patches, which are standardised as in a sample of the data."""

    @classmethod
    def _build(cls, data: Data, settings: Any) -> MaskedObjective:
        objective = super()._build(data, settings)
        model = objective.model
        assert isinstance(model, EnergyMae)
        sample = [network_input(crops, "cpu") for crops in data.training_crops(_SAMPLE)]
        model.decoder.energies.fit(torch.cat([model.encoder.cut(pixels) for pixels in sample]))
        return objective
