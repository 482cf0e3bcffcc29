"""Which of a store's channels a network takes as which of its own."""

from phenomae.models.network import Network, name_channels
from phenomae.records import choose_channels
from phenomae.store.read import Store


def match_channels(store: Store, model: Network, wanted: str) -> tuple[str, ...]:
    """Return the store's channels in the order in which the network takes them.

    `wanted` chooses and renames (`Hoechst=DNA,ConA=ER`: the store's name, then the network's);
    where it is empty the store's channels go by their own names. A network for any channels takes
    them in the order they come in. Raises ValueError where names differ, listing both.
    """
    names = choose_channels(wanted, list(store.channels), str(store.path))
    if model.encoder.any_channels:
        return tuple(names)
    nameless = model.channels == name_channels(len(model.channels))
    if nameless and len(names) == len(model.channels):
        return tuple(names)
    if set(names.values()) != set(model.channels):
        raise ValueError(
            f"{store.path} has the channels {', '.join(store.channels)}, but the network was "
            f"trained on {', '.join(model.channels)}: choose them with --channels STORE=NETWORK,..."
        )
    found = {label: name for name, label in names.items()}
    return tuple(found[name] for name in model.channels)
