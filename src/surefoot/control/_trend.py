"""Lower the rate when a noisy metric no longer improves by more than its noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import ClassVar

from surefoot._checks import integer, number, one_of
from surefoot.control._controller import Controller, Decision, Reading
from surefoot.control._metric import check_flag, check_monitor, margin, watched, within

_LARGE = 1e140  # what is beyond is taken for this: a sum of its squares is a float


def student_quantile(probability: float, degrees: float) -> float:
    """Return the value below which Student's t lies with a probability of at least 0.5.

    `sqrt(n * expm1((c z)^2 / n))`, `c = (8 n + 3) / (8 n + 1)`, with the normal distribution's quantile z and n degrees
    of freedom: Wallace, Bounds on normal approximations to Student's and the chi-square distributions, Annals of
    Mathematical Statistics (1959). Too high, by less than 0.5 % from 4 degrees on (at 0.95), and by 18 % at 1.

    >>> round(student_quantile(0.95, 10), 2), round(student_quantile(0.95, 1000), 2)
    (1.81, 1.65)
    """
    z = NormalDist().inv_cdf(probability)
    return math.sqrt(degrees * math.expm1((z * (8.0 * degrees + 3.0) / (8.0 * degrees + 1.0)) ** 2 / degrees))


def is_significant(gain: float, variance: float, counts: tuple[int, int], *, confidence: float) -> bool:
    """Whether the mean of the later of two windows is better with this confidence: a one-sided t test.

    `t = gain / sqrt(v (1/n1 + 1/n2))`, with the variance v of the later window alone, so `n2 - 1` degrees of freedom:
    the steep start of a run, or one outlier, in the earlier window would make a variance that hides every gain on it.
    A variance that is not finite proves nothing.

    >>> is_significant(0.5, 1.0, (20, 20), confidence=0.95), is_significant(0.6, 1.0, (20, 20), confidence=0.95)
    (False, True)
    """
    if not 0.0 <= variance < math.inf:
        return False
    earlier, later = counts
    error = math.sqrt(variance * (1.0 / earlier + 1.0 / later))
    return gain > (student_quantile(confidence, later - 1) * error if error else 0.0)


class TrendPlateau(Controller):
    """Multiply the learning rate with `factor` when a noisy metric no longer improves by more than its noise.

    Use it on the loss of single batches, where the best value is luck and `Plateau` gives up too early or waits for too
    long. On a metric that hardly varies, such as a validation loss each epoch, take `Plateau`: it needs fewer readings.
    Readings that are averages over the same batches, as Keras' running means, vary less than they are uncertain: it then
    takes noise for progress, and waits longer.

    Readings are taken in windows of `window`. The first is what the next ones are compared with. If the mean of a window
    is better than that by more than its own noise explains (a one-sided t test at the level `confidence`), it takes the
    first one's place. After `patience` windows in a row that are not, the rate is lowered, and all begins anew: so
    between two reductions lie at least `(1 + patience) * window` readings. Where the metric stands still, chance keeps
    the rate for longer in at most `patience * (1 - confidence)` of cases. Where it falls, with a noise of standard
    deviation d, the rate stays if it falls by about `8 d / sqrt(window)` within `patience` windows.

    It keeps means and counts of two windows, and no readings.

    NaN and infinity count as readings, and say nothing: a window of nothing else is no gain.

    Args:
        monitor: the metric; None takes "val_loss" if it is there, else "loss".
        factor: in (0, 1).
        window: readings in a window, at least 3.
        patience: how many windows in a row without gain are borne, at least 1.
        confidence: how sure it must be that there is a gain; in [0.5, 1).
        mode: "min" or "max".
        min_delta: the least gain of a window's mean that counts, at least 0.
        relative: whether `min_delta` is a share of the mean it is compared with.
        min_lr: the rate is not lowered below it.

    Attributes:
        wait: windows in a row without gain.
        reductions: how often it has lowered the rate.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    Examples:
        >>> plateau = TrendPlateau(window=4, patience=2, factor=0.5)
        >>> for step, loss in enumerate([3.0, 2.5, 2.2, 2.0] + 2 * [1.2, 0.9, 0.8, 1.1] + [0.9, 1.2, 1.1, 0.8]):
        ...     decision = plateau.observe(Reading(step, {"loss": loss}))
        >>> plateau.factor, decision.cause
        (0.5, 'loss has not improved beyond its noise for 2 windows of 4 readings: a mean of 1 after 1')
    """

    STATE: ClassVar[tuple[str, ...]] = (
        "factor",
        "wait",
        "reductions",
        "readings",
        "count",
        "mean",
        "squares",
        "reference_count",
        "reference_mean",
        "seen",
        "is_at_floor",
    )
    COUNTS: ClassVar[tuple[str, ...]] = ("wait", "reductions", "readings", "count", "reference_count")
    OPTIONAL: ClassVar[Mapping[str, type]] = {"seen": str}

    def __init__(
        self,
        monitor: str | None = None,
        *,
        factor: float = 0.1,
        window: int = 50,
        patience: int = 2,
        confidence: float = 0.95,
        mode: str = "min",
        min_delta: float = 1e-4,
        relative: bool = True,
        min_lr: float = 0.0,
    ) -> None:
        where = type(self).__name__
        self.monitor = check_monitor(where, monitor)
        self.reduce_by = number(where, "factor", factor, above=0, below=1, cure="0.5 halves the rate.")
        self.window = integer(where, "window", window, at_least=3)
        self.patience = integer(where, "patience", patience, at_least=1)
        self.confidence = number(where, "confidence", confidence, at_least=0.5, below=1)
        self.mode = one_of(where, "mode", mode, ("min", "max"))
        self.min_delta = number(where, "min_delta", min_delta, at_least=0)
        self.relative = check_flag(where, "relative", relative)
        self.min_lr = number(where, "min_lr", min_lr, at_least=0)
        self.factor = 1.0
        self.reductions = 0
        self.seen: str | None = None  # the metric that monitor=None has settled on
        self.is_at_floor = False  # said once, not at every window
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.wait = 0
        self.reference_count, self.reference_mean = 0, 0.0
        self._begin_window()

    def _begin_window(self) -> None:
        self.readings = 0  # of this window
        self.count, self.mean, self.squares = 0, 0.0, 0.0  # finite ones; their mean; squared distances from it

    def observe(self, reading: Reading) -> Decision | None:
        """Take a reading; a reading without the metric is none."""
        name = watched(self.monitor, self.seen, reading.metrics)
        if name is None:
            return None
        self.seen = name
        self._take(float(reading.metrics[name]))
        if self.readings < self.window:
            return None
        if self._is_gain():
            self.reference_count, self.reference_mean, self.wait = self.count, self.mean, 0
        else:
            self.wait += 1
        if self.wait < self.patience:
            self._begin_window()
            return None
        return self._reduce(name, reading.learning_rate)

    def _take(self, value: float) -> None:
        """Add a reading to the window, as Welford does (Technometrics, 1962): one pass, and no digits are lost."""
        self.readings += 1
        if math.isfinite(value):
            self.count += 1
            value = max(-_LARGE, min(_LARGE, value))
            away = value - self.mean
            self.mean += away / self.count
            self.squares += away * (value - self.mean)

    def _is_gain(self) -> bool:
        """Whether this window is better than the reference; any is better than none."""
        if self.count < 2 or not self.reference_count:
            return self.count >= 2
        gain = (self.reference_mean - self.mean) * (1.0 if self.mode == "min" else -1.0)
        gain -= margin(self.reference_mean, self.min_delta, relative=self.relative)
        counts = self.reference_count, self.count
        return is_significant(gain, self.squares / (self.count - 1), counts, confidence=self.confidence)

    def _reduce(self, name: str, learning_rate: float) -> Decision | None:
        windows = f"for {self.wait} window{'s' * (self.wait != 1)} of {self.window} readings"
        cause = f"{name} has hardly been finite {windows}"
        if self.count >= 2:
            means = f"a mean of {self.mean:.4g} after {self.reference_mean:.4g}"
            cause = f"{name} has not improved beyond its noise {windows}: {means}"
        self._begin_anew()
        by = within(learning_rate, self.reduce_by, self.min_lr)
        if by < 1.0:
            self.factor *= by
            self.reductions += 1
            self.is_at_floor = False
            return Decision(cause)
        if self.is_at_floor:
            return None
        self.is_at_floor = True
        return Decision(f"{cause}, but the rate stays: it is at its floor, min_lr={self.min_lr:g}")

    def __repr__(self) -> str:
        monitor = "" if self.monitor is None else f"{self.monitor!r}, "
        return f"TrendPlateau({monitor}factor={self.reduce_by:g}, window={self.window}, patience={self.patience})"
