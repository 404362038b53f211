"""A believable found record, and odd ones that both outputs must survive."""

import dataclasses
import math
import random

import pytest

from surefoot.search._found import Curve, Found, Trial

TOTAL_STEPS = 400
BEST = math.log2(0.0031)


def factor(step):
    warm = min(1.0, step / 20)
    return warm if step < 20 else 0.5 * (1 + math.cos(math.pi * (step - 20) / (TOTAL_STEPS - 20)))


def trial(rung, rate, horizon, rng, *, outcome="finished", first=1, **changes):
    """A training run whose loss falls to a parabola over the rate."""
    away = math.log2(rate) - (BEST + (1.4 if rung == "bracket" else 0.2 if rung == "fork" else 0.0))
    end = {"bracket": 0.9, "fork": 0.31, "race": 0.105}[rung]
    end = min(2.28, end * math.exp((0.1 if away < 0 else 0.16) * away**2 * (0.45 if rung == "bracket" else 1)))
    losses = []
    for step in range(first, horizon + 1):
        drop = 1 - math.exp(-4 * step / horizon)
        losses.append((step, (2.31 - (2.31 - end * 0.95) * drop / 0.982) * math.exp(rng.gauss(0, 0.05))))
    if outcome == "diverged":
        losses = [(s, 2.3 * 1.6 ** min(s, 90)) for s, _ in losses[:9]] + [(10, math.nan)]
    val = None if outcome == "diverged" else end * math.exp(rng.gauss(0, 0.01))
    return dataclasses.replace(
        Trial(
            rung=rung,
            learning_rate=rate,
            seed=0,
            horizon=horizon,
            steps=len(losses),
            outcome=outcome,
            train_loss=None if val is None else val * 0.95,
            val_loss=val,
            best_val_loss=val,
            losses=tuple(losses[:: max(1, len(losses) // 150)]),
            val_losses=() if val is None else ((horizon, val),),
        ),
        **changes,
    )


def make(**changes):
    rng = random.Random(3)
    trials = [trial("bracket", 1e-3 * 2 ** (1.43 * k), 20, rng) for k in (0, 1, -1, 2, 3, -2, -3)]
    trials += [
        trial("bracket", 1e-3 * 2 ** (1.43 * 5), 20, rng, outcome="diverged", note="The loss became NaN at step 10."),
        trial("bracket", 1e-3 * 2 ** (1.43 * 4), 20, rng, val_loss=5.2e6, train_loss=8.1e5),
    ]
    trials += [trial("fork", rate, 100, rng) for rate in (0.0018, 0.0044, 0.0009, 0.0095)]
    trials += [
        trial("race", 0.0018, 300, rng, first=76),
        trial("race", 0.0032, 300, rng),
        trial("race", 0.0061, 180, rng, outcome="abandoned", note="Behind by 14 % at step 180: stopped early."),
    ]
    curves = []
    for rung, shift, end, left, right in (("fork", 0.2, 0.31, 0.1, 0.16), ("race", 0.0, 0.105, 0.1, 0.16)):
        away = [-2.2 + 0.1 * k for k in range(45)]
        losses = [end * math.exp((left if a < 0 else right) * a * a) for a in away]
        curves.append(
            Curve(rung=rung, learning_rates=tuple(2 ** (BEST + shift + a) for a in away), losses=tuple(losses))
        )
    found = Found(
        job="digits",
        learning_rate=0.003125,
        interval=(0.0018, 0.0052),
        confidence="high",
        why=(
            "Three real runs were raced to step 300: 0.0032 leads 0.0018 by 6 % and 0.0061 by 14 %.",
            "The forks at step 100 and the short runs of 20 steps point to the same place.",
        ),
        cautions=("Only one seed was tried: a gap below about 2 % is luck as often as merit.",),
        cost=1.22,
        spent=1.97,
        budget=2.0,
        method="forks + race",
        trials=tuple(trials),
        schedule={},
        total_steps=TOTAL_STEPS,
        seed=0,
        versions={"surefoot": "0.1.0", "torch": "2.13.0", "python": "3.12.3"},
        default_learning_rate=1e-3,
        optimizer="adam",
        curves=tuple(curves),
        run_dir="runs/digits-3f2a",
        details={
            "schedule_repr": "linear_warmup('5%') >> cosine_decay()",
            "factors": [[s, factor(s)] for s in range(0, TOTAL_STEPS, 2)],
            "date": "2026-11-23",
        },
    )
    return dataclasses.replace(found, **changes)


def bare(**changes):
    plain = {
        "rung": "bracket",
        "learning_rate": 1e-3,
        "seed": 0,
        "horizon": 20,
        "steps": 20,
        "outcome": "finished",
        "val_loss": 0.5,
    }
    return Trial(**{**plain, **changes})


def many():
    rng = random.Random(1)
    rungs = (("bracket", 20), ("fork", 100), ("race", 300))
    return tuple(trial(rung, 2 ** rng.uniform(-13, -5), horizon, rng) for _ in range(67) for rung, horizon in rungs)[
        :200
    ]


HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>&amp; $\\frac{1$ \u2028 \x00 日本'
ODD = {
    "no trials": lambda: make(trials=(), curves=(), details={}),
    "nothing at all": lambda: make(
        trials=(), curves=(), details={}, why=(), versions={}, schedule={}, interval=(math.nan, math.inf), learning_rate=math.nan, default_learning_rate=0.0, cost=math.nan, spent=math.nan, budget=math.inf, optimizer=None, total_steps=0,
    ),
    "all diverged": lambda: make(trials=tuple(bare(outcome="diverged", val_loss=None, learning_rate=10.0**-k) for k in range(4)), curves=()),
    "a single trial": lambda: make(trials=(bare(learning_rate=0.003125),), default_learning_rate=0.003125, curves=()),
    "losses that are no numbers": lambda: make(
        trials=tuple(
            bare(val_loss=loss, train_loss=loss, losses=((1, loss), (2, 1.0), (3, loss)), learning_rate=10.0**-k)
            for k, loss in enumerate([math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0, 0.4])
        ),
    ),
    "rates that are no rates": lambda: make(trials=tuple(bare(learning_rate=rate) for rate in (0.0, -1.0, math.nan, math.inf, 1e-300))),
    "equal losses": lambda: make(trials=tuple(bare(learning_rate=10.0**-k) for k in range(4)), curves=()),
    "negative losses": lambda: make(trials=tuple(bare(learning_rate=10.0**-k, val_loss=-3.0 + (k - 2) ** 2, losses=((1, 2.0), (20, -3.0))) for k in range(5)), curves=()),
    "no validation": lambda: make(trials=tuple(bare(learning_rate=10.0**-k, val_loss=math.nan, train_loss=1 + (k - 2) ** 2) for k in range(5)), curves=()),
    "training only by validation": lambda: make(trials=tuple(bare(learning_rate=10.0**-k, val_losses=((10, 1.0), (20, 0.5))) for k in range(5))),
    "200 trials": lambda: make(trials=many()),
    "hostile text": lambda: make(
        job=HOSTILE, why=(HOSTILE,), cautions=(HOSTILE,), optimizer=HOSTILE, method=HOSTILE, run_dir=HOSTILE,
        versions={HOSTILE: HOSTILE}, details={"schedule_repr": HOSTILE, HOSTILE: HOSTILE, "factors": HOSTILE}, schedule={HOSTILE: HOSTILE},
        trials=tuple(bare(rung=HOSTILE, note=HOSTILE, outcome=HOSTILE if k else "finished", learning_rate=10.0**-k) for k in range(3)),
        curves=(Curve(rung=HOSTILE, learning_rates=(1e-3,), losses=(0.5,)),),
    ),
    "very long names": lambda: make(
        job="a_very_long_name_of_a_job_" * 20, why=("word" * 200,), cautions=("and so on " * 100,), confidence="low", is_complete=False,
        trials=tuple(dataclasses.replace(t, note="long " * 80) for t in make().trials),
    ),
    "factors that are none": lambda: make(details={"factors": [[0, math.nan], "x", [1], [2, "b"], None]}),
    "failed trials": lambda: make(trials=(*make().trials, bare(outcome="failed", val_loss=None, steps=0, learning_rate=0.02, note="exit code 1"))),
}  # fmt: skip


@pytest.fixture
def sample():
    return make()


@pytest.fixture(params=ODD, ids=lambda name: name.replace(" ", "-"))
def odd(request):
    return ODD[request.param]()


@pytest.fixture
def odd_one():
    return lambda name: ODD[name]()


@pytest.fixture
def hostile():
    return HOSTILE
