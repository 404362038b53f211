import pytest

from surefoot.control import Chain, Controller, Decision, DivergenceGuard, Greedy, Manual, Plateau, TrendPlateau
from surefoot.testing import check_controller

EVERY = [
    lambda: Plateau("loss"),
    lambda: Plateau("loss", patience=1, factor=0.5, cooldown=2, min_lr=0.1),
    lambda: Plateau(patience=3, mode="max", relative=False, restore_best=True, stop_after=2),
    DivergenceGuard,
    *(lambda a=a: DivergenceGuard(action=a, warmup=5, spike=3.0) for a in ("warn", "skip", "rewind", "stop")),
    lambda: DivergenceGuard(spike=None, attempts=1),
    Manual,
    lambda: Greedy("loss"),
    lambda: Greedy(patience=1, factor=0.5, cooldown=2, warmup=1, window=3, min_lr=0.1, max_lr=0.8),
    lambda: Greedy(patience=2, mode="max", relative=False),
    lambda: Greedy(factor=1e-200, patience=1),
    lambda: TrendPlateau("loss", window=3),
    lambda: TrendPlateau(window=5, patience=1, factor=0.5, confidence=0.5, min_delta=0.0, min_lr=0.1),
    lambda: TrendPlateau(window=4, mode="max", relative=False),
    lambda: Chain(Plateau("loss", patience=1, factor=0.5)),
    lambda: Chain(DivergenceGuard(warmup=5, spike=3.0), Plateau(patience=3), Manual()),
    lambda: Chain(DivergenceGuard(action="skip"), Chain(Greedy(patience=2, window=3), TrendPlateau(window=3))),
]


@pytest.mark.parametrize("make", EVERY, ids=lambda make: repr(make()))
def test_keeps_the_contract(make):
    check_controller(make)


class Forgetful(Controller):
    """Keeps its count out of its state."""

    def __init__(self):
        self.factor, self.count = 1.0, 0

    def observe(self, reading):
        self.count += "loss" in reading.metrics
        if self.count % 10:
            return None
        self.factor *= 0.5
        return Decision("the tenth")


class Silent(Forgetful):
    STATE = ("factor", "count")

    def observe(self, reading):
        super().observe(reading)


class Fragile(Forgetful):
    STATE = ("factor", "count")

    def observe(self, reading):
        if "loss" not in reading.metrics:
            return None
        self.factor = reading.metrics["loss"]
        return Decision("as the loss")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Forgetful, "goes on differently from its state"),
        (Silent, "does not say why"),
        (Fragile, "has the factor"),
    ],
)
def test_a_broken_controller_is_found_out(wrong, said):
    with pytest.raises(AssertionError, match=said):
        check_controller(wrong)
