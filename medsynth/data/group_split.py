"""Which groups (patients, clips) are kept from training: whole groups, whatever the order of their rows."""

import hashlib
from collections.abc import Iterable


def held_out_groups(groups: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """Return `share` of the distinct groups, at least one where the share is above 0.

    Groups are ranked by a hash of seed and name, so that a further group moves no other one but at the border.

    Args:
        groups: Their names, in any order and number.
        share: From 0 to 1.
        seed: Another one ranks anew.
    """
    distinct = sorted(set(groups), key=lambda group: _hash(seed, group))
    num_held_out = max(1, round(share * len(distinct))) if share > 0 else 0
    return frozenset(distinct[:num_held_out])


def _hash(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{group}".encode()).digest()
