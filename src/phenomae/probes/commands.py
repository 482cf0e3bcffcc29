"""The commands `pretrain FAMILY`, which measure recall on the way where settings ask for it."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from phenomae.pretraining.families import channel_mae, classifier, unet_mae, vit_classifier, vit_mae
from phenomae.probes.recall import recall_of

Command = TypeVar("Command", bound=Callable[..., None])


def _with_recall(pretrain: Command) -> Command:
    """Return a command that brings the probe of recall."""

    @wraps(pretrain)
    def command(*paths: Any, **given: Any) -> None:
        if given.get("settings") is not None and given["settings"].recall_every:
            given["probes"] = [*given.get("probes", ()), recall_of]
        pretrain(*paths, **given)

    return command  # pyright: ignore[reportReturnType]


pretrain_vit_mae = _with_recall(vit_mae.pretrain_vit_mae)
pretrain_channel_mae = _with_recall(channel_mae.pretrain_channel_mae)
pretrain_unet_mae = _with_recall(unet_mae.pretrain_unet_mae)
pretrain_classifier = _with_recall(classifier.pretrain_classifier)
pretrain_vit_classifier = _with_recall(vit_classifier.pretrain_vit_classifier)
