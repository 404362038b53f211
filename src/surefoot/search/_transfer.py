"""Carry a known good learning rate to another setting, by the rules that are known, with how far each can be trusted.

Each rule is a power law: where a setting grows by a factor k, the best rate changes by k**exponent. The exponent is not
known exactly; it counts as normal, and rules as independent of each other, so that the interval grows with the distance
in octaves. Nothing is trained: where a search can be paid for, `surefoot.find` at the new setting knows better.

Two settings are not independent, and are kept from being counted twice: a batch-size rule compares runs over the same
number of samples, so the horizon is counted in samples where the batch changes too; and Step Law lets the batch grow with
the tokens, so a batch size beside tokens is compared with the batch that the law would have.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field

from surefoot._checks import integer, number, one_of, refuse, refuse_type
from surefoot.search._belief import LADDER_DRIFT

SGD = ("sgd", "sgd_momentum", "sgd_nesterov")
ADAPTIVE = ("adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam", "radam", "adamax", "lion")
Z = 1.645  # the interval is nominally one of 90 %
STEP_LAW = (1.79, -0.713, 0.307)  # rate = 1.79 N**-0.713 D**0.307
STEP_LAW_BATCH = 0.571  # its batch grows as D**0.571

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStep:
    """One rule of a transfer, applied.

    Attributes:
        setting: what changes: "batch_size", "total_steps", "width", "tokens" or "parameters".
        before: its value where the rate is known.
        after: its value where the rate is wanted.
        rule: the rule in words, with what has to stay as it is.
        exponent: the power of the change that the rate follows.
        spread: one standard deviation of the exponent.
        change: the factor that is raised to the exponent; other than after / before where two settings overlap.
        source: where the rule comes from.
        spread_source: where the spread comes from.
    """

    setting: str
    before: float
    after: float
    rule: str
    exponent: float
    spread: float
    change: float
    source: str
    spread_source: str

    @property
    def factor(self) -> float:
        """What the rate is multiplied with."""
        return self.change**self.exponent

    @property
    def octaves(self) -> float:
        """One standard deviation of the factor, in octaves (factors of 2)."""
        return abs(math.log2(self.change)) * self.spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """A learning rate at another setting, and how it came about.

    Attributes:
        learning_rate: the rate at the new setting; if the width changes, that of matrix-like parameters.
        interval: where the best rate should lie with 90 %, if the given rate was the best of its own setting.
        vector_learning_rate: the rate of vector-like parameters (biases, gains, embeddings); the same unless the width
            changes.
        base: the given rate.
        optimizer: the optimizer's name.
        steps: the rules, in the order in which they were applied; the factors multiply.
        warnings: in which way the change leaves what the rules are known for.
    """

    learning_rate: float
    interval: Pair
    vector_learning_rate: float
    base: float
    optimizer: str
    steps: tuple[TransferStep, ...]
    warnings: tuple[str, ...] = field(default=())

    def why(self) -> str:
        """Return in words what the rate is made of, rule by rule with its source, and what to be careful about."""
        low, high = self.interval
        lines = [
            f"{self.base:.3g} -> {self.learning_rate:.3g}, with 90 % between {low:.2g} and {high:.2g} ({self.optimizer})"
        ]
        if self.vector_learning_rate != self.learning_rate:
            lines.append(f"for biases, gains and embeddings: {self.vector_learning_rate:.3g}")
        for step in self.steps:
            head = f"{step.setting} {step.before:g} -> {step.after:g}: x {step.factor:.3g}."
            told = f"{head} {step.rule} Source: {step.source}. Spread: {step.spread_source}."
            lines += textwrap.wrap(told, 110, subsequent_indent="  ")
        for warning in self.warnings:
            lines += textwrap.wrap(f"caution: {warning}", 110, subsequent_indent="  ")
        return "\n".join(lines)


def transfer(
    learning_rate: float,
    *,
    batch_size: Pair | None = None,
    total_steps: Pair | None = None,
    width: Pair | None = None,
    tokens: Pair | None = None,
    parameters: Pair | None = None,
    optimizer: str = "adam",
) -> Transferred:
    """Carry a known good learning rate to another setting; factors of several settings multiply.

    Use it where a search at the new setting costs too much, or for where a search should start. Do not use it to get from
    a rate that was never tuned to one that is: the result is as good as what it starts from. Another dataset, another
    architecture, another optimizer or weight decay have no rule.

    With k the change of a setting:

    - batch size: rate * k for SGD, rate * sqrt(k) for Adam and its like, over the same number of samples, and below the
      critical batch size;
    - steps: rate * k**-0.30 at the same batch size and with the same shape of schedule (our own measurement);
    - width, under µP: for Adam and its like rate / k for matrix-like parameters (both sides grow with the width) and the
      same rate for vector-like ones; for SGD the same for matrix-like ones and rate * k for vector-like ones;
    - tokens D and parameters N of a language model: Step Law, rate = 1.79 N**-0.713 D**0.307, with a batch that grows as
      D**0.571.

    Where batch size and steps both change, steps count as samples: twice the batch at the same number of steps is a run of
    twice the length. Where batch size and tokens both change, the batch counts relative to Step Law's.

    Args:
        learning_rate: the rate that is good where it is known.
        batch_size: (known, wanted), in samples or in tokens.
        total_steps: (known, wanted), in optimizer steps.
        width: (known, wanted), of the hidden layers; for models in µP.
        tokens: (known, wanted), of a language model's training; not beside total_steps.
        parameters: (known, wanted), of a language model without its embeddings; not beside width.
        optimizer: "sgd", "sgd_momentum", "sgd_nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam",
            "radam", "adamax" or "lion".

    Returns:
        The rate with an interval, the rules, and warnings; `.why()` tells it in words.

    Raises:
        ArgumentError: a number or a name is not allowed, no setting is given, or two that say the same.
        ArgumentTypeError: a type is not allowed.

    Examples:
        >>> moved = transfer(0.003, batch_size=(32, 128), optimizer="adam")
        >>> moved.learning_rate, [round(rate, 4) for rate in moved.interval]
        (0.006, [0.003, 0.0119])
        >>> print(transfer(0.1, batch_size=(256, 1024), optimizer="sgd").learning_rate)
        0.4
        >>> print(f"{transfer(0.003, batch_size=(32, 128), total_steps=(4000, 1000)).learning_rate:.3g}")  # as many samples
        0.006

    References:
        Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, arXiv:1404.5997.
        Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677.
        McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, arXiv:1812.06162.
        Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", 2022, arXiv:2205.10287.
        Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer", 2022,
        arXiv:2203.03466.
        Bjorck et al., "Scaling Optimal LR Across Token Horizons", 2024, arXiv:2409.19913.
        Li et al., "Predictable Scale: Part I, Step Law", 2025, arXiv:2503.04715.

    .. versionadded:: 0.1.0
    """
    base = number("transfer", "learning_rate", learning_rate, above=0.0)
    name = one_of("transfer", "optimizer", optimizer, (*SGD, *ADAPTIVE))
    batch = _pair("batch_size", batch_size, whole=True)
    horizon = _pair("total_steps", total_steps, whole=True)
    wide = _pair("width", width, whole=True)
    seen = _pair("tokens", tokens)
    size = _pair("parameters", parameters)
    if horizon and seen:
        raise refuse("transfer", "tokens", tokens, "left out beside total_steps", "Both are the length of the run.")
    if wide and size:
        raise refuse("transfer", "parameters", parameters, "left out beside width", "Both are the size of the model.")
    steps: list[TransferStep] = []
    warnings: list[str] = []
    if batch:
        steps.append(_batch_step(batch, seen, name, warnings))
    if horizon:
        steps.append(_horizon_step(horizon, batch, warnings))
    if wide:
        steps.append(_width_step(wide, name, warnings))
    if seen:
        steps.append(_tokens_step(seen, has_batch=batch is not None))
    if size:
        steps.append(_parameters_step(size))
    if not steps:
        cure = "As in transfer(0.003, batch_size=(32, 256))."
        raise refuse("transfer", "batch_size", None, "given, or another setting that changes", cure)
    if seen or size:
        warnings += _step_law_warnings(base, seen, size, name)
    factor = math.prod(step.factor for step in steps)
    sd = math.hypot(*(step.octaves for step in steps))
    # In µP the rates of vector-like and matrix-like parameters part by k: 1 and 1 / k with Adam, k and 1 with SGD.
    parting = wide[1] / wide[0] if wide else 1.0
    return Transferred(
        learning_rate=base * factor,
        interval=(base * factor * 2.0 ** (-Z * sd), base * factor * 2.0 ** (Z * sd)),
        vector_learning_rate=base * factor * parting,
        base=base,
        optimizer=name,
        steps=tuple(steps),
        warnings=tuple(warnings),
    )


# ---- the rules ---------------------------------------------------------------------------------------------------------


def _batch_step(batch: Pair, tokens: Pair | None, optimizer: str, warnings: list[str]) -> TransferStep:
    """Linear for SGD (Goyal et al. 2017), the square root for Adam (Krizhevsky 2014; Malladi et al. 2022)."""
    before, after = batch
    k = after / before
    change = k if tokens is None else k / (tokens[1] / tokens[0]) ** STEP_LAW_BATCH
    held = (
        "over the same number of samples" if tokens is None else "beside the growth of the batch in Step Law, D^0.571"
    )
    if optimizer in SGD:
        exponent, source = 1.0, "Goyal et al. 2017"
        rule = f"In proportion to the batch, {held}, with a warm-up, below the critical batch size."
    else:
        exponent, source = 0.5, "Krizhevsky 2014; Malladi et al. 2022"
        rule = (
            f"With the square root of the batch, {held}, below the critical batch size; to be exact, 1 - beta1 and "
            "1 - beta2 grow as the batch, and eps falls as its square root."
        )
    if k > 1.0:
        warnings.append(
            "Above the critical batch size (the gradient's noise scale, McCandlish et al. 2018) a larger batch wants no "
            "higher rate; where it lies for this job is not known here."
        )
    if max(k, 1.0 / k) > 32.0:
        warnings.append(f"The batch changes {max(k, 1.0 / k):.3g}-fold; Goyal et al. went 32-fold.")
    if optimizer in {"adagrad", "adadelta", "lion"}:
        warnings.append(f"The square root was derived for Adam and RMSprop; for {optimizer} it is an analogy.")
    return TransferStep(
        setting="batch_size", before=before, after=after, rule=rule, exponent=exponent, spread=0.3, change=change,
        source=source, spread_source="chosen, so that 90 % hold the linear rule and the square root both",
    )  # fmt: skip


def _horizon_step(horizon: Pair, batch: Pair | None, warnings: list[str]) -> TransferStep:
    """The drift of the best rate that the search itself believes in, between annealed runs of two lengths."""
    before, after = horizon
    drift, spread = LADDER_DRIFT
    samples = 1.0 if batch is None else batch[1] / batch[0]
    change = after / before * samples
    counted = "" if samples == 1.0 else f" Steps count as samples here, x {change:.3g}, since the batch changes."
    if max(before, after) > 1200 or min(before, after) < 10:
        warnings.append(
            "The drift with the length was measured on runs of 300 to 1,200 steps and down to a 32nd of them."
        )
    if max(change, 1.0 / change) > 32.0:
        warnings.append(
            f"The length changes {max(change, 1.0 / change):.3g}-fold; the drift was measured up to 32-fold."
        )
    if change > 1.0:
        warnings.append(
            "A job that over-fits wants about half the rate for twice the length, more than this rule takes away."
        )
    return TransferStep(
        setting="total_steps", before=before, after=after, exponent=-drift, spread=spread, change=change,
        rule=f"Down by {drift:g} octaves for each doubling, at the same batch size and shape of schedule.{counted}",
        source="measured on surefoot's fourteen small jobs; Bjorck et al. 2024 have -0.32 for language models",
        spread_source="between those jobs, over-fitting ones included",
    )  # fmt: skip


def _width_step(width: Pair, optimizer: str, warnings: list[str]) -> TransferStep:
    """µP (Yang et al. 2022, table 8): what grows on both sides is matrix-like, what grows on one is vector-like."""
    before, after = width
    k = after / before
    warnings.append(
        "This is for models in µP (initial sizes, output multiplier, 1/d attention); others drift otherwise."
    )
    if max(k, 1.0 / k) > 16.0 or min(width) < 128 or max(width) > 8192:
        warnings.append("µP was tested for widths of 128 to 8,192, and mostly up to 16-fold changes.")
    if optimizer in SGD:
        exponent, rule = 0.0, "Unchanged for matrix-like parameters; in proportion for vector-like ones."
    else:
        exponent, rule = -1.0, "As 1 / width for matrix-like parameters; unchanged for vector-like ones."
    if optimizer == "adadelta":
        warnings.append("µP was worked out for SGD and Adam; for adadelta it is an analogy.")
    return TransferStep(
        setting="width", before=before, after=after, rule=rule, exponent=exponent, spread=0.15, change=k,
        source="Yang et al. 2022, table 8",
        spread_source="Lingle 2024 (arXiv:2404.05728): the optimum stays on a grid of factors of 4 over 16 times the width",
    )  # fmt: skip


def _tokens_step(tokens: Pair, *, has_batch: bool) -> TransferStep:
    before, after = tokens
    batch = "" if has_batch else f", here x {(after / before) ** STEP_LAW_BATCH:.3g}; give batch_size if it does not"
    return TransferStep(
        setting="tokens", before=before, after=after, exponent=STEP_LAW[2], spread=0.15, change=after / before,
        rule=f"As D^0.307, with a batch that grows as D^0.571{batch}.",
        source="Step Law, Li et al. 2025",
        spread_source="chosen: fits by others have smaller exponents, and curvature at scale",
    )  # fmt: skip


def _parameters_step(parameters: Pair) -> TransferStep:
    before, after = parameters
    return TransferStep(
        setting="parameters", before=before, after=after, exponent=STEP_LAW[1], spread=0.15, change=after / before,
        rule="As N^-0.713, in the standard parametrization.",
        source="Step Law, Li et al. 2025",
        spread_source="chosen: fits by others differ by as much",
    )  # fmt: skip


def _step_law_warnings(base: float, tokens: Pair | None, parameters: Pair | None, optimizer: str) -> list[str]:
    found: list[str] = []
    if optimizer not in {"adam", "adamw"}:
        found.append(f"Step Law was fitted with AdamW; for {optimizer} it is not known to hold.")
    if parameters and not (min(parameters) >= 6e7 and max(parameters) <= 1.1e9):
        found.append("Step Law was fitted on about 60 million to 1 billion parameters (without embeddings).")
    if tokens and not (min(tokens) >= 1e9 and max(tokens) <= 1e11):
        found.append("Step Law was fitted on about 1 to 100 billion tokens.")
    if tokens and parameters:
        scale, of_size, of_tokens = STEP_LAW
        own = scale * parameters[0] ** of_size * tokens[0] ** of_tokens
        if not 0.25 <= own / base <= 4.0:
            found.append(
                f"For the known setting Step Law itself says {own:.2g}, not {base:.2g}: one of them is for another job."
            )
    return found


# ---- checks ------------------------------------------------------------------------------------------------------------


def _pair(argument: str, value: object, *, whole: bool = False) -> Pair | None:
    """Return (known, wanted), or None if the setting was not given."""
    if value is None:
        return None
    if not isinstance(value, tuple | list) or len(value) != 2:  # pyright: ignore[reportUnknownArgumentType]
        cure = f"As in {argument}=(32, 256): where the rate is known, and where it is wanted."
        raise refuse_type("transfer", argument, value, "a pair of two numbers", cure)  # pyright: ignore[reportUnknownArgumentType]
    before, after = value  # pyright: ignore[reportUnknownVariableType]
    check: Callable[[object], float] = (
        (lambda v: float(integer("transfer", argument, v, at_least=1)))
        if whole
        else (lambda v: number("transfer", argument, v, above=0.0))
    )
    return check(before), check(after)  # pyright: ignore[reportUnknownArgumentType]
