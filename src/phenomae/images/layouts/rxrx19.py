"""RxRx19a and RxRx19b: compounds on cells with a disease condition, one PNG per channel.

The two data sets have the same columns and differ in their disease conditions. Written from their
documentation; their files were not tried.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from phenomae.images.fields import Listing
from phenomae.images.layouts.rxrx3_wells import name_dose, read_amount
from phenomae.images.layouts.rxrx_metadata import Cells, Metadata, Treatment
from phenomae.images.layouts.rxrx_plates import list_plates
from phenomae.images.settings import LayoutSettings
from phenomae.progress import info
from phenomae.text_tables import read_table

_CONDITION = "disease_condition"


@dataclass(frozen=True)
class DiseaseSet:
    """One of the two data sets."""

    name: str
    disease: Collection[str]
    """How the metadata call the disease condition on which compounds are tested, lower case."""
    others: Collection[str]
    """Its other conditions, lower case."""

    def find(self, raw: Path) -> list[Path]:
        """Return the metadata (`raw` itself, or in it) that have these disease conditions."""
        return [path for path in self._metadata.find(raw) if self._has_conditions(path)]

    def list_images(self, csv: Path, settings: LayoutSettings) -> Listing:
        """List the PNGs `images/EXPERIMENT/Plate1/AA02_s2_w3.png` of the sites in the metadata.

        Plates are named EXPERIMENT_Plate1. The batch of a well is its experiment. The perturbation
        is compound and concentration, and the disease condition if it is not the one on which
        compounds are tested; without a compound it is the condition. Wells with the disease and
        without a compound are controls.

        Raises ValueError as `rxrx_plates.list_plates` does.
        """
        listing = list_plates(csv, self._metadata, settings)
        if listing.wells is not None and len(listing.wells) and not listing.wells["control"].any():
            info(
                f"{csv}: no well has the {_CONDITION} {' or '.join(sorted(self.disease))} and no "
                "treatment, so no well is a negative control (settings control_column and "
                "control_label choose others)"
            )
        return listing

    @property
    def _metadata(self) -> Metadata:
        return Metadata(
            self.name,
            partial(_read_treatment, self.disease),
            columns=(
                "experiment", "plate", "well", "site", _CONDITION, "treatment", "treatment_conc",
            ),
            signs=("well_id", "cell_type"),
        )  # fmt: skip

    def _has_conditions(self, path: Path) -> bool:
        try:
            table = read_table(path)
        except ValueError:
            return False
        if _CONDITION not in table.columns:
            return False
        found = {text.lower() for text in table[_CONDITION].drop_nulls()}
        return not found.isdisjoint([*self.disease, *self.others])


def _read_treatment(disease: Collection[str], cells: Cells) -> Treatment:
    condition, compound = cells[_CONDITION], cells["treatment"]
    amount = read_amount(cells["treatment_conc"])
    with_disease = (condition or "").lower() in disease
    if compound is None:
        labels = {"perturbation": condition}
        return Treatment(condition or "no condition", with_disease, labels)
    # A compound on healthy cells is another perturbation than on diseased ones.
    place = f"_{condition}" if condition and not with_disease else ""
    perturbation = name_dose(compound, amount) + place
    labels = {"perturbation": perturbation, "compound": compound, "concentration_um": amount}
    return Treatment(f"{perturbation} ({condition})", control=False, labels=labels)
