"""Matches the channels of a store with the channels of a network by name."""

from phenomae.models.network import Network, name_channels
from phenomae.records import choose_channels
from phenomae.store.read import Store


def match_channels(store: Store, model: Network, channels: str) -> tuple[str, ...]:
    """Return the names of the store's channels in the order of the network's channels.

    `channels` is a setting like `Hoechst=DNA,ConA=ER` (store name=network name); if it is empty,
    store and network use the same names. For a channel-agnostic network the order of the setting is
    kept. Raises ValueError, which lists both, if the names are not those of the network.
    """
    names = choose_channels(channels, list(store.channels), str(store.path))
    if model.encoder.any_channels:
        return tuple(names)
    # Published weights have no channel names, so that only the number of channels can be checked.
    nameless = model.channels == name_channels(len(model.channels))
    if nameless and len(names) == len(model.channels):
        return tuple(names)
    if set(names.values()) != set(model.channels):
        raise ValueError(
            f"{store.path} has the channels {', '.join(store.channels)}, but the network was "
            f"trained on {', '.join(model.channels)}: match them with channels STORE=NETWORK,..."
        )
    # The setting maps names of the store to names of the network; here the reverse is needed.
    by_label = {label: name for name, label in names.items()}
    return tuple(by_label[name] for name in model.channels)
