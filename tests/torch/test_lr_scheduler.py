"""Schedulers under torch's names: alone they are torch's, together they multiply, and every run can be resumed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as theirs

from surefoot import ArgumentTypeError
from surefoot.torch import lr_scheduler as ours

from .schedulers import BY_STEP, MAKERS, add_group, halve, rates, same, sgd, through_a_file, walk, wave

pytestmark = pytest.mark.filterwarnings("ignore:`scheduler.step:UserWarning", "ignore:Detected call:UserWarning")


@pytest.mark.parametrize("make", BY_STEP)
def test_alone_the_rates_are_torchs(make):
    mine, known = make(ours, sgd()), make(theirs, sgd())
    assert same(walk(mine, 12), walk(known, 12))
    assert mine.optimizer.param_groups[0]["momentum"] == pytest.approx(known.optimizer.param_groups[0]["momentum"])


def test_every_name_of_torch_is_there_and_a_subclass_of_torchs():
    assert set(theirs.__all__) <= set(ours.__all__)
    assert ours.LRScheduler is theirs.LRScheduler
    for name in theirs.__all__:
        assert issubclass(getattr(ours, name), getattr(theirs, name))


def test_arguments_order_and_defaults_are_torchs():
    import inspect

    for name in theirs.__all__:
        mine, known = (inspect.signature(getattr(module, name)).parameters.values() for module in (ours, theirs))
        assert [(p.name, p.default) for p in mine] == [(p.name, p.default) for p in known]


FACTOR = st.floats(0.01, 1.0)
LENGTH = st.integers(1, 30)
RATE = st.floats(1e-5, 10.0)


@settings(max_examples=40, deadline=None)
@given(st.data())
@pytest.mark.parametrize(
    "draw",
    [
        lambda d, m, o: m.StepLR(o, d(LENGTH), d(FACTOR)),
        lambda d, m, o: m.MultiStepLR(o, d(st.lists(LENGTH, max_size=5)), d(FACTOR)),
        lambda d, m, o: m.ConstantLR(o, d(FACTOR), d(LENGTH)),
        lambda d, m, o: m.LinearLR(o, d(FACTOR), d(FACTOR), d(LENGTH)),
        lambda d, m, o: m.ExponentialLR(o, d(FACTOR)),
        lambda d, m, o: m.PolynomialLR(o, d(LENGTH), d(st.floats(0.1, 4.0))),
        lambda d, m, o: m.CosineAnnealingLR(o, d(st.integers(30, 60)), d(st.floats(0.0, 0.1))),
        lambda d, m, o: m.CosineAnnealingWarmRestarts(o, d(LENGTH), d(st.integers(1, 3)), d(st.floats(0.0, 0.1))),
        lambda d, m, o: m.CyclicLR(o, d(RATE), d(RATE), d(LENGTH), d(LENGTH), "exp_range", d(FACTOR)),
        lambda d, m, o: m.OneCycleLR(
            o, d(RATE), d(st.integers(31, 60)), pct_start=d(st.floats(0.1, 0.4)), three_phase=d(st.booleans())
        ),
    ],
)
def test_alone_the_rates_are_torchs_for_any_arguments(draw, data):
    said = []

    def first(strategy):
        said.append(data.draw(strategy))
        return said[-1]

    base = data.draw(RATE)
    mine = draw(first, ours, sgd(base, base / 3))
    again = iter(said)
    known = draw(lambda _: next(again), theirs, sgd(base, base / 3))
    assert same(walk(mine, 30), walk(known, 30))


@settings(max_examples=60, deadline=None)
@given(
    metrics=st.lists(st.floats(0.01, 5.0), min_size=1, max_size=60),
    mode=st.sampled_from(["min", "max"]),
    threshold_mode=st.sampled_from(["rel", "abs"]),
    patience=st.integers(0, 4),
    cooldown=st.integers(0, 3),
    factor=st.floats(0.0, 0.9),
    min_lr=st.sampled_from([0, 1e-3, [0.1, 0.2]]),
)
@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau leaves:UserWarning")
def test_a_plateau_of_positive_metrics_is_torchs(metrics, **arguments):
    one, two = sgd(), sgd()
    mine, known = ours.ReduceLROnPlateau(one, **arguments), theirs.ReduceLROnPlateau(two, **arguments)
    for metric in metrics:
        mine.step(metric)
        known.step(metric)
        assert rates(one) == pytest.approx(rates(two), rel=1e-12, abs=1e-15)
        assert (mine.best, mine.num_bad_epochs) == (known.best, known.num_bad_epochs)


@pytest.mark.parametrize("first", BY_STEP[:10])
@pytest.mark.parametrize("second", BY_STEP[:10])
def test_two_schedulers_multiply_in_either_order(first, second):
    alone = [walk(make(ours, sgd()), 8) for make in (first, second)]
    for makers in ((first, second), (second, first)):
        optimizer = sgd()
        both = [make(ours, optimizer) for make in makers]
        for step in range(9):
            wanted = [a * b / base for a, b, base in zip(alone[0][step], alone[1][step], (0.3, 0.7), strict=True)]
            assert rates(optimizer) == pytest.approx(wanted, rel=1e-12)
            for scheduler in both:
                scheduler.step()


# https://github.com/pytorch/pytorch/issues/47513
def test_a_plateau_is_right_for_negative_metrics():
    one, two = sgd(), sgd()
    mine, known = (m.ReduceLROnPlateau(o, patience=0) for m, o in ((ours, one), (theirs, two)))
    for _ in range(3):
        mine.step(-1.0)
        known.step(-1.0)
    assert rates(two) == [0.3, 0.7]  # torch never sees that nothing is gained
    assert rates(one) == pytest.approx([0.003, 0.007])
    for metric in (-2.0, -3.0):
        mine.step(metric)
    assert rates(one) == pytest.approx([0.003, 0.007])


# https://github.com/pytorch/pytorch/issues/68978
def test_warm_up_then_plateau_in_sequence():
    two = sgd()
    with pytest.raises(ValueError, match="does not support"):
        theirs.SequentialLR(two, [theirs.LinearLR(two), theirs.ReduceLROnPlateau(two)], [5])
    one = sgd(0.4)
    warmup, plateau = ours.LinearLR(one, 0.5, total_iters=2), ours.ReduceLROnPlateau(one, factor=0.5, patience=0)
    scheduler = ours.SequentialLR(one, [warmup, plateau], milestones=[2])
    seen = []
    for metric in (None, 1.0, 1.0, 1.0):
        seen += rates(one)
        scheduler.step(metric)
    assert seen + rates(one) == pytest.approx([0.2, 0.3, 0.4, 0.2, 0.1])
    with pytest.raises(ArgumentTypeError, match="while ReduceLROnPlateau counts"):
        scheduler.step()


# https://github.com/pytorch/pytorch/issues/82859
def test_the_cuts_of_a_plateau_stay_beside_another_scheduler():
    for module, last in ((theirs, [0.3, 0.7]), (ours, [0.003, 0.007])):
        optimizer = sgd()
        schedule, plateau = module.LambdaLR(optimizer, lambda _: 1.0), module.ReduceLROnPlateau(optimizer, patience=0)
        for _ in range(3):
            plateau.step(1.0)
            schedule.step()
        assert rates(optimizer) == pytest.approx(last)


# https://github.com/pytorch/pytorch/issues/129565
def test_a_chain_does_not_depend_on_its_order():
    for module, is_alike in ((theirs, False), (ours, True)):
        ends = []
        for order in (1, -1):
            optimizer = sgd()
            parts = [module.CosineAnnealingWarmRestarts(optimizer, 4), module.MultiStepLR(optimizer, [2])]
            ends.append(walk(module.ChainedScheduler(parts[::order]), 6))
        assert same(*ends) is is_alike


# https://github.com/pytorch/pytorch/issues/162591
def test_a_sequence_goes_on_from_last_epoch():
    def make(module, optimizer, **more):
        parts = [module.ConstantLR(optimizer, 0.1, 2), module.ExponentialLR(optimizer, 0.9)]
        return module.SequentialLR(optimizer, parts, [2], **more)

    whole = walk(make(ours, sgd()), 8)
    for module, is_right in ((theirs, False), (ours, True)):
        assert same(walk(make(module, sgd(), last_epoch=3), 4), whole[4:]) is is_right


# https://github.com/pytorch/pytorch/issues/119168
@pytest.mark.parametrize("make", BY_STEP)
@pytest.mark.parametrize("order", ["obs", "bos", "bso", "bs"])
@pytest.mark.filterwarnings("ignore:Seems like:UserWarning")
def test_a_run_is_resumed_in_any_order(make, order):
    scheduler = make(ours, sgd())
    whole = walk(scheduler, 5)
    states = through_a_file((scheduler.optimizer.state_dict(), scheduler.state_dict()))
    whole += walk(scheduler, 4)[1:]
    optimizer, resumed = sgd(), None
    for what in order:
        if what == "o":
            optimizer.load_state_dict(states[0])
        elif what == "b":
            resumed = make(ours, optimizer)
        else:
            resumed.load_state_dict(states[1])
    assert same(walk(resumed, 4), whole[5:])


def test_a_state_brings_its_initial_rates():
    saved, resumed = ours.StepLR(sgd(), 3), ours.StepLR(sgd(5.0, 6.0), 3)
    resumed.load_state_dict(saved.state_dict())
    assert rates(resumed.optimizer) == [0.3, 0.7]
    assert [group["initial_lr"] for group in resumed.optimizer.param_groups] == [0.3, 0.7]


def test_torchs_constructor_overwrites_a_rate_that_was_loaded():
    for module, is_right in ((theirs, False), (ours, True)):
        whole = walk(MAKERS["LinearLR"](module, sgd()), 4)
        saved = MAKERS["LinearLR"](module, sgd())
        walk(saved, 3)
        optimizer = sgd()
        optimizer.load_state_dict(saved.optimizer.state_dict())
        resumed = MAKERS["LinearLR"](module, optimizer)
        resumed.load_state_dict(saved.state_dict())
        assert same(walk(resumed, 1), whole[3:]) is is_right


# https://github.com/pytorch/pytorch/issues/29697
def test_the_state_of_the_scheduler_alone_is_enough():
    for module, last in ((theirs, [0.3, 0.7]), (ours, [0.003, 0.007])):
        saved = module.MultiStepLR(sgd(), [1, 2])
        walk(saved, 3)
        fresh = module.MultiStepLR(sgd(), [1, 2])
        fresh.load_state_dict(saved.state_dict())
        fresh.step()
        assert rates(fresh.optimizer) == pytest.approx(last)


@pytest.mark.parametrize("load_plateau_first", [True, False])
def test_two_schedulers_and_a_change_by_hand_are_resumed_together(load_plateau_first):
    def make(optimizer):
        return ours.LinearLR(optimizer, 0.1, total_iters=5), ours.ReduceLROnPlateau(optimizer, patience=0)

    def go(optimizer, pair, steps):
        for _ in range(steps):
            optimizer.step()
            pair[0].step()
            pair[1].step(1.0)
        return rates(optimizer)

    optimizer = sgd()
    pair = make(optimizer)
    go(optimizer, pair, 2)
    optimizer.param_groups[1]["lr"] *= 0.5
    states = through_a_file([optimizer.state_dict(), *(scheduler.state_dict() for scheduler in pair)])
    before, after = rates(optimizer), go(optimizer, pair, 2)
    again = sgd()
    new = make(again)
    for scheduler, state in list(zip(new, states[1:], strict=True))[:: -1 if load_plateau_first else 1]:
        scheduler.load_state_dict(state)
    assert rates(again) == pytest.approx(before, rel=1e-12)
    again.load_state_dict(states[0])
    assert go(again, new, 2) == pytest.approx(after, rel=1e-12)


# https://github.com/pytorch/pytorch/issues/79888
@pytest.mark.parametrize("name", [name for name in MAKERS if name not in {"LambdaLR", "OneCycleLR"}])
def test_a_group_that_is_added_later_has_its_rate_times_the_same_factors(name):
    early, late = MAKERS[name](ours, sgd(0.3, 0.7, 0.1)), MAKERS[name](ours, sgd())
    walk(early, 3)
    walk(late, 3)
    add_group(late.optimizer, 0.1)
    assert same(walk(late, 5)[1:], walk(early, 5)[1:])


def test_what_torch_does_with_a_group_that_is_added_later():
    for make in (MAKERS["CyclicLR"], MAKERS["CosineAnnealingWarmRestarts"], lambda m, o: m.LambdaLR(o, halve)):
        known, mine = make(theirs, sgd()), make(ours, sgd())
        for scheduler in (known, mine):
            add_group(scheduler.optimizer)
        with pytest.raises(ValueError, match="zip"):
            known.step()
        mine.step()
    known, mine = MAKERS["OneCycleLR"](theirs, sgd()), MAKERS["OneCycleLR"](ours, sgd())
    for scheduler in (known, mine):
        add_group(scheduler.optimizer)
    with pytest.raises(KeyError, match="initial_lr"):
        known.step()
    mine.step()
    assert len(set(rates(mine.optimizer))) == 1  # max_lr was one for all
    assert len({group["momentum"] for group in mine.optimizer.param_groups}) == 1
    for module, is_right in ((theirs, False), (ours, True)):
        scheduler = module.LinearLR(sgd(), 1 / 3, total_iters=5)
        add_group(scheduler.optimizer)
        scheduler.step()
        first, _, last = rates(scheduler.optimizer)
        assert (last == pytest.approx(first / 3)) is is_right


def test_a_list_that_is_too_short_for_a_new_group_is_refused():
    optimizer = sgd()
    scheduler = ours.LambdaLR(optimizer, [halve, wave])
    add_group(optimizer)
    with pytest.raises(RuntimeError, match="Append one to `scheduler"):
        scheduler.step()
    scheduler.lr_lambdas.append(halve)
    scheduler.step()
    assert rates(optimizer) == pytest.approx([0.15, 0.7 * wave(1), 0.05])  # the refused step does not count
    plateau = ours.ReduceLROnPlateau(sgd(), patience=0, min_lr=[0.1, 0.1])
    add_group(plateau.optimizer)
    plateau.step(1.0)
    with pytest.raises(RuntimeError, match="min_lrs"):
        plateau.step(1.0)


def test_a_group_that_is_added_to_one_cycle_may_have_a_peak_of_its_own():
    early = ours.OneCycleLR(sgd(0.3, 0.7, 0.1), [0.5, 0.4, 0.3], total_steps=10)
    late = ours.OneCycleLR(sgd(), [0.5, 0.4], total_steps=10)
    walk(early, 2)
    walk(late, 2)
    add_group(late.optimizer)
    with pytest.raises(RuntimeError, match="without a `max_lr`"):
        late.step()
    late.optimizer.param_groups[2]["max_lr"] = 0.3
    assert same(walk(late, 3)[1:], walk(early, 3)[1:])


def test_a_resumed_run_knows_what_was_changed_by_hand_before_the_other_scheduler_was_made():
    def make(optimizer):
        return ours.StepLR(optimizer, 2, 0.5)

    saved = sgd()
    pair = make(saved), ours.ReduceLROnPlateau(saved, patience=0)
    for _ in range(3):
        pair[0].step()
        pair[1].step(1.0)
    states = through_a_file([saved.state_dict(), *(scheduler.state_dict() for scheduler in pair)])
    again = sgd()
    first = make(again)
    again.load_state_dict(states[0])  # to the first this is a change by hand
    second = ours.ReduceLROnPlateau(again, patience=0)
    second.step(1.0)
    first.load_state_dict(states[1])
    second.load_state_dict(states[2])
    assert rates(again) == pytest.approx(rates(saved), rel=1e-12)
