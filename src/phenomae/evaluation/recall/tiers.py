"""The tiers of `benchmark --wells`: which pairs of wells count for the similarity of two genes.

Wells that share a plate, a batch or a position look alike for technical reasons, so that genes
whose wells share them look related. The value of two genes in a tier is the mean cosine over those
pairs of their wells that share none.
"""

from typing import Literal

TierName = Literal["any", "other-plate", "other-batch", "other-position"]
TIERS: dict[TierName, str | None] = {
    "any": None,
    "other-plate": "plate",
    "other-batch": "batch",
    "other-position": "well",
}
"""The tiers, and the column of the wells that two wells of a pair may not share."""
