"""Which pictures count as private: what they show, and what the privacy gate says of it."""

import dataclasses
from collections.abc import Sequence

from benchmark.gates.model import Gate, Outcome
from benchmark.gates.overall import PRIVACY


def mark_private(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """Return the gates, with pictures of synthetic images marked as private unless privacy passes.

    Synthetic images that are copies of the training images show real patients, and only a pass says that none was
    found.
    """
    if any(gate.key == PRIVACY and gate.outcome is Outcome.PASS for gate in gates):
        return tuple(gates)
    return tuple(
        dataclasses.replace(
            gate,
            pictures=[
                dataclasses.replace(picture, is_private=picture.is_private or picture.is_synthetic)
                for picture in gate.pictures
            ],
        )
        for gate in gates
    )
