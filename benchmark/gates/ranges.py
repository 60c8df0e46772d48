"""Which values a threshold may have: a range for every name in thresholds.yaml."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The values that a threshold may have.

    Attributes:
        least: The smallest one.
        most: The largest one; infinite where there is none.
        holds_ends: Whether `least` and `most` themselves are among them.
        is_whole: Whether only whole numbers are.
    """

    least: float
    most: float
    holds_ends: bool = True
    is_whole: bool = False

    def holds(self, value: float) -> bool:
        """Return whether a threshold may have this value."""
        if self.is_whole and not value.is_integer():
            return False
        return self.least <= value <= self.most if self.holds_ends else self.least < value < self.most

    def __str__(self) -> str:
        what = "a whole number" if self.is_whole else "a number"
        if not self.holds_ends:
            return f"{what} above {self.least:g} and below {self.most:g}"
        if math.isinf(self.most):
            return f"{what}, {self.least:g} or more"
        return f"{what} from {self.least:g} to {self.most:g}"


_MARGIN = Range(0, 1, holds_ends=False)  # of an AUROC, or of a similarity that is at most 1
_AUROC = Range(0.5, 1)
_SHARE = Range(0, 1)  # or a probability
_TIMES = Range(0, 10)
_AGE = Range(0, 130)
_PERCENTILE = Range(0, 100, holds_ends=False)

RANGES = {
    "utility": {
        "margin": _MARGIN,
        "reference_auroc": _AUROC,
        "label_margin": _MARGIN,
        "fewest_cases": Range(1, math.inf, is_whole=True),
        "fewest_patients": Range(2, math.inf, is_whole=True),  # the interval of one has no width
        "age_middle_from": _AGE,
        "age_old_from": _AGE,
    },
    "fidelity": {
        "kid_share": _TIMES,
        "precision_share": _SHARE,
        "recall_share": _SHARE,
        "coverage_share": _SHARE,
        "consistency_margin": _MARGIN,
        "reference_auroc": _AUROC,
        "table_columns_margin": _MARGIN,
        "table_pairs_margin": _MARGIN,
        "table_correlation_margin": _MARGIN,
        "detection_auc": _AUROC,
    },
    "privacy": {
        "excess_share": _SHARE,
        "nearer_than_any_chance": _SHARE,
        "near_copy_rate": _SHARE,
        "membership_auc": _AUROC,
        "found_at_1_percent": _SHARE,
        "found_at_5_percent": _SHARE,
        "planted_found": _SHARE,
        "filter_percentile_1": _PERCENTILE,
        "filter_percentile_2": _PERCENTILE,
        "filter_percentile_3": _PERCENTILE,
    },
}
# Of each pair, the first is below the second.
ASCENDING = {"utility": (("age_middle_from", "age_old_from"),)}
