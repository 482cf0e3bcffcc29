"""Which profiles are positives of each other in a ranking by cosine, and which are negatives."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int

Codes = Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Pairing:
    """Which profiles are positives of each other, and which are negatives."""

    groups: Codes
    """Profiles with the same code are positives of each other; -1 marks controls."""
    sources: Codes | None = None
    """If given, profiles with the same code in `sources` are not positives of each other."""
    plates: Codes | None = None
    """If given, the negatives of a profile have the same code in `plates` as the profile."""
    apart: Codes | None = None
    """If given, profiles with the same code in `apart` are neither positives nor negatives of each
    other: those that a tier keeps apart."""
    against: str = "controls"
    """Which profiles are negatives: "controls", or "groups" for those of all other groups."""
    members: Bool[np.ndarray, "n groups"] | None = None
    """If given, which groups each profile is of, for profiles of several; `groups` has any of them.
    Positives share the group that is asked about, and negatives share none."""

    def list_members(self, groups: Int[np.ndarray, " g"]) -> list[Codes]:
        """Return the profiles of each of some groups."""
        if self.members is not None:
            return [np.flatnonzero(self.members[:, group]) for group in groups]
        # All in one sort.
        order = np.argsort(self.groups, kind="stable")
        ends = np.searchsorted(self.groups[order], np.stack([groups, groups + 1], axis=1))
        return [order[start:stop] for start, stop in ends.tolist()]

    def negatives_of(self, group: int, own: Codes, at_most: int, rng: np.random.Generator) -> Codes:
        """Return at most so many random negatives of the profiles `own` of a group.

        With `plates`, these are on the plates of the group, as many on each if possible.
        """
        pool, plates = self._negatives
        if plates is not None and self.plates is not None:
            own_plates = np.unique(self.plates[own])
            each = at_most // len(own_plates)
            ends = np.searchsorted(plates, np.stack([own_plates, own_plates + 1], axis=1)).tolist()
            drawn = [rng.permutation(pool[low:high])[:each] for low, high in ends]
            return np.concatenate(drawn)
        # More than are needed, because those of the group itself are left out.
        size = min(len(pool), at_most + len(own))
        drawn = rng.choice(pool, size, replace=False)
        if self.members is None:
            others = self.groups[drawn] != group
        else:
            others = ~self.members[drawn, group]
        return np.sort(drawn[others][:at_most])

    @cached_property
    def _negatives(self) -> tuple[Codes, Codes | None]:
        """All profiles that are negatives of a group; with `plates` by plate, with their plates."""
        pool = np.flatnonzero(self.groups < 0 if self.against == "controls" else self.groups >= 0)
        if self.plates is None:
            return pool, None
        pool = pool[np.argsort(self.plates[pool], kind="stable")]
        return pool, self.plates[pool]

    def may_be_positives(self, row: int, others: Codes) -> Bool[np.ndarray, " k"]:
        """Return which of other profiles of its group are positives of a profile."""
        allowed = others != row
        for codes in (self.sources, self.apart):
            if codes is not None:
                allowed &= codes[others] != codes[row]
        return allowed

    def may_be_negatives(self, row: int, others: Codes) -> Bool[np.ndarray, " k"]:
        """Return which of `negatives_of` its group are negatives of a profile."""
        allowed = np.ones(len(others), dtype=bool)
        if self.members is not None:
            allowed &= ~(self.members[others] & self.members[row]).any(axis=1)
        if self.plates is not None:
            allowed &= self.plates[others] == self.plates[row]
        if self.apart is not None:
            allowed &= self.apart[others] != self.apart[row]
        return allowed
