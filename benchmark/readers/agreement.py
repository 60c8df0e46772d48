"""Whether readers say the same of the same image, beyond what chance alone would give."""

import numpy as np
import numpy.typing as npt

from benchmark.readers.accuracy import resampled_interval
from medsynth.classify.evaluation.evaluate import Interval
from medsynth.classify.evaluation.statistics import divide

Floats = npt.NDArray[np.float64]


def cohen_kappa(first: Floats, second: Floats, weights: Floats) -> Floats:
    """Return the agreement of two readers beyond chance for each row of weights, [R], at most 1.

    NaN where both always say the same word, so that chance alone gives full agreement.

    Args:
        first: 1, 0 or NaN where there is no answer, [N].
        second: The same of the other reader.
        weights: How often each item counts, [R, N].

    Source: Cohen 1960, "A coefficient of agreement for nominal scales".
    """
    both = ~np.isnan(first) & ~np.isnan(second)
    one, other, counts = first[both], second[both], weights[:, both]
    total = counts.sum(axis=1)
    agreed = divide(counts @ (one == other).astype(float), total)
    shares = [divide(counts @ answers, total) for answers in (one, other)]
    expected = shares[0] * shares[1] + (1 - shares[0]) * (1 - shares[1])
    return _beyond_chance(agreed, expected)


def fleiss_kappa(called_real: Floats, weights: Floats) -> Floats:
    """Return the agreement of all readers beyond chance for each row of weights, [R], at most 1.

    Items may have different numbers of answers; those with fewer than two are left out.

    Args:
        called_real: 1, 0 or NaN where there is no answer, [J, N].
        weights: How often each item counts, [R, N].

    Source: Fleiss 1971, "Measuring nominal scale agreement among many raters", equations 2 to 7.
    """
    answered = (~np.isnan(called_real)).sum(axis=0)
    used = answered > 1
    num, real = answered[used].astype(float), np.nansum(called_real, axis=0)[used]
    counts = weights[:, used]
    of_item = (real**2 + (num - real) ** 2 - num) / (num * (num - 1))
    agreed = divide(counts @ of_item, counts.sum(axis=1))
    share = divide(counts @ real, counts @ num)
    return _beyond_chance(agreed, share**2 + (1 - share) ** 2)


def _beyond_chance(agreed: Floats, expected: Floats) -> Floats:
    return divide(agreed - expected, 1 - expected)


def kappa_estimate(values: Floats) -> Interval | None:
    """Return a kappa with its interval over resampled items, or None where it is not defined.

    Args:
        values: Of all items, and then of every resample. Resamples without a value are passed over; where all are
            equal (full agreement), no interval can be given.
    """
    return None if np.isnan(values[0]) else resampled_interval(float(values[0]), values[1:])
