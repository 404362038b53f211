"""One of every schedule: adding a schedule to the contract suite is one line here."""

from surefoot.schedules import (
    constant,
    cosine_decay,
    exponential_decay,
    from_function,
    inverse_sqrt_decay,
    linear_decay,
    linear_warmup,
    one_cycle,
    piecewise,
    polynomial_decay,
    warmup_stable_decay,
)


def wobble(step):
    """Return a factor that no other schedule makes; works on arrays."""
    return 0.5 + 0.25 / (1 + step)


EXAMPLES = [
    constant(),
    constant(20, factor=0.5),
    constant(0),
    linear_warmup("10%"),
    linear_warmup(0),
    linear_warmup("1 epoch", start=0.1),
    linear_decay(),
    linear_decay("50%", to=0.1),
    cosine_decay(to=0.1),
    cosine_decay(50, power=1.5),
    polynomial_decay(power=2.5, to=0.01),
    polynomial_decay(power=0.5),
    exponential_decay(),
    exponential_decay(100, to=0.1),
    exponential_decay(rate=0.5, every="1.5 epochs"),
    exponential_decay(rate=0.5, every=30, staircase=True, to=0.2),
    inverse_sqrt_decay(),
    inverse_sqrt_decay(timescale="5%"),
    inverse_sqrt_decay(timescale=1000),
    warmup_stable_decay(),
    warmup_stable_decay(0, "30%", shape="linear", to=0.1),
    warmup_stable_decay(10, decay_steps=20, length=150, start=0.1, shape="cosine"),
    one_cycle(),
    one_cycle("80%", warmup_steps=6.5, down_steps="10%", shape="linear"),
    piecewise({"50%": 0.1, "75%": 0.01}),
    piecewise({0: 0.0, 10: 1.0, "2 epochs": 0.2}, shape="linear"),
    piecewise({0: 0.1, 10.5: 1.0}, shape="cosine", length=50),
    from_function(wobble),
    from_function(wobble, length="50%"),
    linear_warmup("5%") >> cosine_decay(to=0.1),
    linear_warmup(10) >> constant() >> linear_decay("20%"),
    cosine_decay() >> linear_decay("10%"),
    linear_warmup(0) >> constant(0) >> linear_decay(),
    linear_warmup("7.7%") >> constant("50.5%") >> (0.5 * linear_decay("0.5 epochs", to=0.3)) >> constant(factor=0.1),
    linear_warmup("10%") >> inverse_sqrt_decay(),
    0.5 * cosine_decay(),
    0.5 * (linear_warmup("5%") >> cosine_decay()),
    cosine_decay() * linear_warmup("10%"),
    (0.5 * cosine_decay()) * (linear_warmup("5%") >> constant()) * (2 * linear_decay("50%", to=0.5)),
    linear_warmup("5%") >> (cosine_decay() * (constant("10%") >> constant(factor=0.5))),
]
