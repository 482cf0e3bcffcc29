"""Prediction of local energies: the objective of `energy-mae`."""

from typing import Any

import torch

from phenomae.crops.tensors import network_input
from phenomae.models.vit.energy_mae import EnergyMae
from phenomae.pretraining.data import Data
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.pretraining.objectives.objective import Objective

_SAMPLE = 128  # crops, one per field, whose energies are standardised


class EnergyObjective(MaskedObjective):
    """Predicts the energies of patches; the masks depend on (seed, step, index) only."""

    @classmethod
    def build(cls, data: Data, settings: Any) -> Objective:
        """Return an objective with a new network, which standardises energies as in the data."""
        objective = super().build(data, settings)
        model = objective.model
        assert isinstance(model, EnergyMae)
        crops = data.training_crops(_SAMPLE)
        model.decoder.energies.fit(model.encoder.cut(network_input(crops, torch.device("cpu"))))
        return objective
