"""Matches the channels of a store to those of a network, by name."""

from phenomae.models.network import Network, name_channels
from phenomae.records import choose_channels
from phenomae.store.read import Store


def match_channels(store: Store, model: Network, channels: str) -> tuple[str, ...]:
    """Return the names of the store's channels in the order in which the network takes them.

    `channels` is a setting like `Hoechst=DNA,ConA=ER` (the store's name, then the network's); empty
    means that both use the same names. A network for any channels takes them in the order given.
    Raises ValueError, listing both, if the names are not those the network was trained on.
    """
    names = choose_channels(channels, list(store.channels), str(store.path))
    if model.encoder.any_channels:
        return tuple(names)
    # Published weights do not name their channels; then the number of channels has to do.
    nameless = model.channels == name_channels(len(model.channels))
    if nameless and len(names) == len(model.channels):
        return tuple(names)
    if set(names.values()) != set(model.channels):
        raise ValueError(
            f"{store.path} has the channels {', '.join(store.channels)}, but the network was "
            f"trained on {', '.join(model.channels)}: match them with channels STORE=NETWORK,..."
        )
    by_label = {label: name for name, label in names.items()}
    return tuple(by_label[name] for name in model.channels)
