"""Section: training and validation loss over steps, and recall if training measured it."""

from pathlib import Path

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.evidence.training import Training
from phenomae.reporting.figures.curves import draw_loss, loss_in_words, recall_in_words
from phenomae.reporting.figures.style import Picture, save
from phenomae.reporting.sections.section import Section
from phenomae.reporting.words import count


def _training(evidence: Evidence) -> Training:
    assert evidence.training is not None
    return evidence.training


def _text(evidence: Evidence) -> str:
    text = (
        "The loss that training minimises, on crops of training wells and of validation wells. "
        "Both losses should decrease and then level off; a validation loss that rises again is a "
        "sign of overfitting."
    )
    if _training(evidence).recalls is None:
        return text
    return (
        f"{text} The panel below shows the recall of known pairs on a map of some wells, measured "
        "during training: once recall stops rising, further training hardly improves the map."
    )


def _draw(evidence: Evidence, folder: Path) -> Picture:
    training = _training(evidence)
    return save(draw_loss(training.losses, training.recalls), folder, "loss")


def _caption(evidence: Evidence) -> str:
    training = _training(evidence)
    ends = [loss_in_words(training.losses)]
    if training.recalls is not None:
        ends.append(recall_in_words(training.recalls))
    parts = [f"At the end: {'; '.join(ends)}."]
    for name, loss in training.losses.items():
        # The figure cannot show these values, so the caption mentions them.
        if loss.broken:
            parts.append(
                f"The {name} loss was not finite in {count(loss.broken)} lines of the log, which "
                "are left out."
            )
    return " ".join(parts)


SECTION = Section(
    "loss",
    link="Loss",
    heading="Loss",
    needs=lambda evidence: evidence.training is not None and bool(evidence.training.losses),
    text=_text,
    draw=_draw,
    caption=_caption,
)
