"""The bridge to Optuna: our search inside a study, and a study's storage as the record of a search.

SurefootSampler    which learning rate the next trial gets
SurefootPruner     which trial is not worth its end
record_to_study    the trials and the answer of a search, into a study
found_from_study   the answer, out of a study: a recorded one, or what the study's own trials say
"""

# Optuna is not always there when types are checked:
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUntypedBaseClass=false
# pyright: reportUnknownParameterType=false, reportMissingModuleSource=false, reportUnnecessaryIsInstance=false

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from surefoot._checks import integer, number, refuse, refuse_type
from surefoot._errors import StateError, missing_extra
from surefoot.schedules import Schedule, constant
from surefoot.search import Found, Trial
from surefoot.search._steps import LossScale, Point
from surefoot.search._whole_runs import next_rate

try:
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler, RandomSampler
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial, TrialState
except ImportError as _error:
    raise missing_extra("optuna", "optuna") from _error

from surefoot.integrations._optuna_answer import answer_of

__all__ = ["SurefootPruner", "SurefootSampler", "found_from_study", "record_to_study"]

RECORD = "surefoot.found"  # the study's attribute that holds the answer
CENSORED = 0.5  # log loss above the best that a pruned trial counts as, at least
EARLY, HALF = 1 / 8, 1 / 2  # of a run: before the first nobody is judged, from the second on everybody
HOPELESS, BEATEN = 0.5, 0.2  # log loss above the best from which a trial is pruned, early and from half on
LOOKS_WORSE = 0.05  # log loss per octave that a higher rate looks worse than it will be at its end


class SurefootSampler(BaseSampler):
    """Choose the learning rate of the next trial by surefoot's search, inside an Optuna study.

    Each trial is a whole training run of yours. The first ones walk from `start` until the loss has risen on both sides,
    then come the rates around the best, and what is believed from all. It reads the study's trials and remembers nothing
    itself, so that a study in a storage can be resumed, and shared by several processes; a rate that is under way is not
    given twice.

    Use it where an objective is there already. Do not use it where the run can be a job of surefoot's: `surefoot.find`
    takes short runs and forks, and answers for about the price of one trial. Other parameters of the objective are left
    to `others`; the rate's best value then mixes theirs, so fix them, or search them after the rate.

    Args:
        param: the name of the learning rate in `trial.suggest_float`; its range must be above 0.
        start: the first rate; default 1e-3, or the middle of a range without it.
        others: a sampler for all other parameters; default Optuna's RandomSampler.
        seed: for the default of `others`, and for the draws when the search has no question left.

    Raises:
        ArgumentError: a value is not allowed; at the first trial also a range that is not above 0, a step, an integer or
            a choice, and a study of several objectives.
        ArgumentTypeError: a type is not allowed.

    Example:
        >>> import optuna
        >>> from surefoot.integrations.optuna import SurefootSampler
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> def objective(trial):
        ...     rate = trial.suggest_float("learning_rate", 1e-6, 1.0, log=True)
        ...     return 1.0 + math.log10(rate / 0.02) ** 2
        >>> study = optuna.create_study(sampler=SurefootSampler())
        >>> study.optimize(objective, n_trials=9)
        >>> 0.015 < study.best_params["learning_rate"] < 0.027
        True

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        param: str = "learning_rate",
        *,
        start: float | None = None,
        others: BaseSampler | None = None,
        seed: int = 0,
    ) -> None:
        self._param = _name("SurefootSampler", param)
        self._start = None if start is None else number("SurefootSampler", "start", start, above=0.0)
        self._seed = integer("SurefootSampler", "seed", seed, at_least=0)
        if others is not None and not isinstance(others, BaseSampler):  # pyright: ignore[reportUnnecessaryIsInstance] - users' values
            raise refuse_type("SurefootSampler", "others", others, "a sampler of Optuna's", "For example TPESampler().")
        self._others: Any = RandomSampler(seed=seed) if others is None else others

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what the other sampler wants to draw together."""
        space: dict[str, BaseDistribution] = self._others.infer_relative_search_space(study, trial)
        return {name: distribution for name, distribution in space.items() if name != self._param}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return what the other sampler draws."""
        return self._others.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the rate of a trial, or what the other sampler draws for another parameter."""
        if param_name != self._param:
            return self._others.sample_independent(study, trial, param_name, param_distribution)
        low, high = _range(param_name, param_distribution)
        start = self._start
        if start is None:
            start = 1e-3 if low <= 1e-3 <= high else math.sqrt(low * high)
        points = points_of(study, self._param)
        running = [
            math.log2(t.params[self._param])
            for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if t.number != trial.number and _is_rate(t.params.get(self._param))
        ]
        x = next_rate(
            points,
            start=math.log2(min(max(start, low), high)),
            low=math.log2(low),
            high=math.log2(high),
            running=running,
            seed=self._seed + trial.number,
        )
        return min(max(float(f"{2.0**x:.3g}"), low), high)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Let the other sampler prepare itself."""
        self._others.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Let the other sampler take notice."""
        self._others.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Let the other sampler draw anew in another process."""
        self._others.reseed_rng()


class SurefootPruner(BasePruner):
    """Stop a trial that blew up, or that can hardly win any more, as surefoot's race does.

    It reads what the objective reports: `trial.report(val_loss, step)`, with optimizer steps, and the same ones in each
    trial. A loss that is not finite ends a trial at once, and one above twice its first. Others are held against the best
    of those trials that reported at the same step. A high rate looks worse in the middle of a run than it will be after
    the decay: so before half of it only a trial of a *lower* rate than the best one's is stopped, and from there on 5 %
    an octave is taken off.

    Use it with a schedule that comes down. Do not use it where losses are not positive and lower is not better by
    ratio, as with rewards.

    Args:
        total_steps: of a whole run, in the unit of `trial.report`.
        param: the name of the learning rate.

    Raises:
        ArgumentError: a value is not allowed; at the first report also a study of several objectives.

    Example:
        >>> SurefootPruner(total_steps=1000)
        SurefootPruner(total_steps=1000, param='learning_rate')

    .. versionadded:: 0.1.0
    """

    def __init__(self, total_steps: int, *, param: str = "learning_rate") -> None:
        self._total = integer("SurefootPruner", "total_steps", total_steps, at_least=1)
        self._param = _name("SurefootPruner", param)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether a trial is to be stopped at its last report."""
        sign = _sign(study)
        step = trial.last_step
        if step is None:
            return False
        reports = {at: sign * value for at, value in trial.intermediate_values.items()}
        loss, first = reports[step], reports[min(reports)]
        if not math.isfinite(loss):
            return True
        if math.isfinite(first) and loss > first + abs(first):
            return True
        rate: Any = trial.params.get(self._param)
        if step < EARLY * self._total or not _is_rate(rate):
            return False
        best = self._best(study, trial, step, sign)
        if best is None:
            return False
        other, other_rate = best
        scale = LossScale.of([loss, other], first)
        above = math.log2(rate / other_rate)
        if step < HALF * self._total:
            return above < 0 and scale(loss) - scale(other) > HOPELESS
        return scale(loss) - scale(other) - LOOKS_WORSE * max(above, 0.0) > BEATEN

    def _best(self, study: Study, trial: FrozenTrial, step: int, sign: float) -> tuple[float, float] | None:
        """Return loss and rate of the best other trial at a step."""
        found = [
            (sign * other.intermediate_values[step], float(other.params[self._param]))
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
            and math.isfinite(other.intermediate_values.get(step, math.nan))
            and _is_rate(other.params.get(self._param))
        ]
        return min(found, default=None)

    def __repr__(self) -> str:
        return f"SurefootPruner(total_steps={self._total}, param={self._param!r})"


def record_to_study(found: Found, study: Study, *, param: str = "learning_rate", enqueue: bool = True) -> None:
    """Write the trials and the answer of a search into a study, and so into its storage.

    Use it to keep searches where studies are kept, or to begin a study of other parameters at the found rate. A trial of
    the search that was a whole run is complete in the study; a shorter one, or a fork, is pruned, with its loss at the
    step that it speaks for; one that diverged or failed has failed. SQLite is tested; PostgreSQL and MySQL take the same
    URL and are not tested.

    Args:
        found: what `surefoot.find` returned.
        study: a study that minimizes, without such a record.
        param: the name of the learning rate in it.
        enqueue: let the found rate be the next trial that the study runs.

    Raises:
        ArgumentError: the study maximizes, has several objectives, or holds an answer already.

    Example:
        >>> import optuna, surefoot as sf
        >>> from surefoot.integrations.optuna import found_from_study, record_to_study
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> found = sf.find(sf.FunctionJob(lambda learning_rate, steps, seed: 1 / steps + (learning_rate - 0.1) ** 2, 400))
        >>> study = optuna.create_study()  # with storage="sqlite:///record.db" it is kept
        >>> record_to_study(found, study)
        >>> found_from_study(study) == found
        True

    .. versionadded:: 0.1.0
    """
    if not isinstance(found, Found):  # pyright: ignore[reportUnnecessaryIsInstance] - users have no type checker
        raise refuse_type("record_to_study", "found", found, "a Found", "Take what `surefoot.find` returned.")
    param = _name("record_to_study", param)
    if _sign(study, "record_to_study") < 0:
        cure = "Create it with direction='minimize': surefoot's losses are the lower the better."
        raise refuse("record_to_study", "study", study.study_name, "a study that minimizes", cure)
    if RECORD in study.user_attrs:
        cure = "Create another study."
        raise refuse("record_to_study", "study", study.study_name, "a study without an answer of surefoot", cure)
    rates = [found.learning_rate, *(t.learning_rate for t in found.trials)]
    whole = FloatDistribution(min(rates), max(rates), log=True)
    study.add_trials([_frozen(trial, found.total_steps, param, whole) for trial in found.trials])
    study.set_user_attr(RECORD, found.to_dict())  # last: who reads it finds the trials, too
    if enqueue:
        study.enqueue_trial({param: found.learning_rate})


def found_from_study(
    study: Study,
    *,
    param: str = "learning_rate",
    total_steps: int | None = None,
    schedule: Schedule | None = None,
) -> Found:
    """Return the answer that a study holds, or the one that its own trials give.

    If `record_to_study` has written an answer, it is that one. Else the study's trials, whoever has sampled them, are
    taken as whole runs at their rates: the answer is the best rate by the curve through them, with its interval.

    Args:
        study: any study with one objective.
        param: the name of the learning rate in it.
        total_steps: of a whole run; default the highest step that was reported, else 1.
        schedule: of the runs, to be said in the answer; default constant.

    Raises:
        StateError: the recorded answer is damaged, or no trial has a rate and a finite value.
        ArgumentError: a value is not allowed, or the study has several objectives.

    .. versionadded:: 0.1.0
    """
    param = _name("found_from_study", param)
    if total_steps is not None:
        total_steps = integer("found_from_study", "total_steps", total_steps, at_least=1)
    if schedule is not None and not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise refuse_type("found_from_study", "schedule", schedule, "a surefoot schedule")
    sign = _sign(study, "found_from_study")
    record = study.user_attrs.get(RECORD)
    if record is not None:
        if not isinstance(record, Mapping):
            raise StateError(f"the study {study.study_name!r} holds a damaged answer: {record!r:.60}")
        return Found.from_dict(record)
    points = points_of(study, param)
    if all(p.is_diverged for p in points):
        raise StateError(
            f"no trial of the study {study.study_name!r} has a parameter {param!r} and a finite value, so there is no answer."
        )
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    steps = [t.last_step for t in ended if t.last_step is not None]
    total = total_steps or max(1, max(steps, default=1))
    trials = [_trial(t, param, total, sign) for t in ended if _is_rate(t.params.get(param))]
    return answer_of(
        points,
        trials,
        job=study.study_name,
        total_steps=total,
        schedule=schedule or constant(),
        versions={"optuna": optuna.__version__},
    )


def points_of(study: Study, param: str) -> list[Point]:
    """Return the trials of a study that have ended, as points of the search.

    A trial that failed, or ended with infinity, diverged. A pruned one was clearly worse than the best; it counts as half
    a nat above that, or as its last report where this is more.
    """
    sign = _sign(study)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    known = [
        (math.log2(t.params[param]), sign * float(t.value if t.value is not None else math.nan))
        for t in complete
        if _is_rate(t.params.get(param))
    ]
    finite = [loss for _, loss in known if math.isfinite(loss)]
    points = [Point(x=x, loss=loss if math.isfinite(loss) else math.inf) for x, loss in known]
    scale = LossScale.of(finite, math.nan)
    worse = math.exp(min(map(scale, finite)) + CENSORED) - scale.shift if finite else math.nan
    for trial in study.get_trials(deepcopy=False, states=(TrialState.PRUNED, TrialState.FAIL)):
        if not _is_rate(trial.params.get(param)):
            continue
        last = sign * trial.intermediate_values.get(trial.last_step or 0, math.nan)
        is_broken = trial.state == TrialState.FAIL or not math.isfinite(last) or math.isnan(worse)
        loss = math.inf if is_broken else max(worse, last)
        points.append(Point(x=math.log2(trial.params[param]), loss=loss))
    return points


def _frozen(trial: Trial, total_steps: int, param: str, whole: FloatDistribution) -> FrozenTrial:
    """Return a trial of ours as one of Optuna's."""
    is_broken = trial.outcome in ("diverged", "failed") or trial.val_loss is None
    is_whole = trial.outcome == "finished" and trial.horizon >= total_steps
    state = TrialState.FAIL if is_broken else TrialState.COMPLETE if is_whole else TrialState.PRUNED
    about = {
        f"surefoot.{name}": getattr(trial, name) for name in ("rung", "horizon", "steps", "outcome", "seed", "note")
    }
    return optuna.trial.create_trial(
        state=state,
        value=trial.val_loss if state == TrialState.COMPLETE else None,
        params={param: trial.learning_rate},
        distributions={param: whole},
        user_attrs=about,
        intermediate_values={step: loss for step, loss in trial.val_losses if math.isfinite(loss)},
    )


def _trial(trial: FrozenTrial, param: str, total_steps: int, sign: float) -> Trial:
    """Return a trial of Optuna's as one of ours."""
    losses = [(step, sign * value) for step, value in sorted(trial.intermediate_values.items())]
    steps = total_steps if trial.state == TrialState.COMPLETE else min(trial.last_step or 0, total_steps)
    value = sign * trial.value if trial.state == TrialState.COMPLETE and trial.value is not None else None
    is_finite = value is not None and math.isfinite(value)
    if trial.state == TrialState.PRUNED:
        outcome = "abandoned"
    elif trial.state == TrialState.FAIL:
        outcome = "failed"
    else:
        outcome = "finished" if is_finite else "diverged"
    return Trial(
        rung="study",
        learning_rate=float(trial.params[param]),
        seed=0,
        horizon=steps,
        steps=steps,
        outcome=outcome,
        val_loss=value if is_finite else None,
        best_val_loss=min((v for _, v in losses if math.isfinite(v)), default=value if is_finite else None),
        val_losses=tuple((step, v) for step, v in losses if math.isfinite(v)),
        note=f"trial {trial.number} of the study",
    )


def _range(name: str, distribution: BaseDistribution) -> tuple[float, float]:
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None:
        cure = f"Ask for it by trial.suggest_float({name!r}, 1e-6, 1.0, log=True)."
        raise refuse_type("SurefootSampler", name, distribution, "a float without a step", cure)
    if distribution.low <= 0:
        raise refuse("SurefootSampler", name, distribution.low, "in a range above 0", "Begin at 1e-6, say.")
    return distribution.low, distribution.high


def _sign(study: Study, where: str = "SurefootSampler") -> float:
    """Return 1 for a study that minimizes, -1 for one that maximizes."""
    if len(study.directions) != 1:
        raise refuse(where, "study", study.directions, "a study with one objective", "The search knows one loss.")
    return -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0


def _name(where: str, param: object) -> str:
    if not isinstance(param, str):
        raise refuse_type(where, "param", param, "the name of a parameter")
    if not param:
        raise refuse(where, "param", param, "the name of a parameter", "As in trial.suggest_float(name, ...).")
    return param


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0
