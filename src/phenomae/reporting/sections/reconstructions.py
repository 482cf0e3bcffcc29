"""Section: crops of validation wells with their masked input and reconstruction."""

from pathlib import Path

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.figures.style import Picture, copy_png
from phenomae.reporting.sections.section import Section

_ALT = "Three rows per image: the input, the input with patches masked, and the reconstruction."


def _draw(evidence: Evidence, folder: Path) -> Picture:
    assert evidence.training is not None
    assert evidence.training.picture is not None
    # Copied and not redrawn, because a run keeps the picture and not the crops.
    return copy_png(evidence.training.picture, folder, "reconstructions", _ALT)


def _text(evidence: Evidence) -> str:
    assert evidence.training is not None
    if evidence.training.signature["settings"].get("family") == "energy-mae":
        return (
            "Three rows per image and one column per channel, with one square per patch: the log "
            "power of the coarsest structures of a patch, the same with most patches masked, and "
            "what the network predicts. It predicts the energies of structures, not pixels."
        )
    return (
        "Three rows per image and one column per channel: the input, the input with most patches "
        "masked, and the network’s reconstruction. A trained network recovers position, shape and "
        "brightness of the cells, but blurred; an untrained network returns noise or uniform grey."
    )


SECTION = Section(
    "reconstructions",
    link="Reconstructions",
    heading="Reconstructions",
    needs=lambda evidence: evidence.training is not None and evidence.training.picture is not None,
    text=_text,
    draw=_draw,
    caption=lambda evidence: (
        "Images of validation wells, if there are any. In the reconstruction, patches that were "
        "not masked are copied from the input. A channel that is dark in all rows has nothing but "
        "noise in this image."
    ),
)
