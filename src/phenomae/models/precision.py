"""Exempts a part of a network or loss from automatic mixed precision."""

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which products keep the type of their operands, such as float32."""
    # The meta device, on which FLOPs are counted, has no autocast.
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
