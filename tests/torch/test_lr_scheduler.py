import copy
import gc
import io
import math
import warnings
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as theirs

import torch
from surefoot import ArgumentError, ArgumentTypeError, StateError, SurefootWarning
from surefoot.torch import lr_scheduler as ours

pytestmark = pytest.mark.filterwarnings("ignore:`scheduler.step:UserWarning", "ignore:Detected call:UserWarning")


def sgd(*rates, momentum=0.9):
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": rate} for rate in rates or (0.3, 0.7)]
    return torch.optim.SGD(groups, lr=0.3, momentum=momentum)


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def add_group(optimizer, lr=0.1):
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr})


def walk(scheduler, steps):
    """Return the rates at each step, the present one first."""
    seen = [rates(scheduler.optimizer)]
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()
        seen.append(rates(scheduler.optimizer))
    return seen


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def leaves(value):
    if isinstance(value, dict):
        yield from (leaf for item in value.values() for leaf in leaves(item))
    elif isinstance(value, list):
        yield from (leaf for item in value for leaf in leaves(item))
    else:
        yield value


def same(found, wanted):
    return all(a == pytest.approx(b, rel=1e-12, abs=1e-12) for a, b in zip(found, wanted, strict=True))


def halve(step):
    return 0.5**step


def wave(step):
    return 1.0 + math.sin(step) / 2


MAKERS = {
    "LambdaLR": lambda m, o: m.LambdaLR(o, [halve, wave]),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, wave),
    "StepLR": lambda m, o: m.StepLR(o, 3, gamma=0.3),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [2, 5, 5, 9], gamma=0.5),
    "ConstantLR": lambda m, o: m.ConstantLR(o, factor=0.2, total_iters=4),
    "LinearLR": lambda m, o: m.LinearLR(o, 0.1, 0.8, total_iters=6),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda m, o: m.PolynomialLR(o, 8, power=1.5),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 12, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.01),
    "CyclicLR": lambda m, o: m.CyclicLR(o, 0.1, 0.5, step_size_up=3, step_size_down=2, mode="triangular2"),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, 0.5, total_steps=14),
    "SequentialLR": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.1), m.StepLR(o, 2), m.ExponentialLR(o, 0.8)], [4, 8]
    ),
    "ChainedScheduler": lambda m, o: m.ChainedScheduler([m.LinearLR(o, 0.1), m.ExponentialLR(o, 0.8)]),
}
BY_STEP = [pytest.param(make, id=name) for name, make in MAKERS.items()]


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


# https://github.com/pytorch/pytorch/issues/44511
def test_a_step_that_amp_skips_is_no_false_alarm():
    for module, alarms in ((theirs, 1), (ours, 0)):
        parameter = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        scheduler = module.StepLR(optimizer, 3)
        scaler = torch.amp.GradScaler("cpu")
        scaler.scale((parameter * math.inf).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            scheduler.step()
        assert len(said) == alarms


def test_the_wrong_order_of_calls_is_said():
    scheduler = ours.StepLR(sgd(), 3)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()


def test_a_tensor_is_filled_in_place_and_its_history_is_of_floats():
    for module, kind in ((theirs, torch.Tensor), (ours, float)):
        lr = torch.tensor(0.5)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)
        scheduler = module.ExponentialLR(optimizer, 0.5)
        scheduler.step()
        assert optimizer.param_groups[0]["lr"] is lr
        assert float(lr) == 0.25
        assert type(scheduler.get_last_lr()[0]) is kind
        assert optimizer.param_groups[0]["initial_lr"] == 0.5


def test_a_tensor_that_all_groups_share_is_not_taken_for_a_new_groups_base():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=torch.tensor(0.5))
    scheduler = ours.ExponentialLR(optimizer, 0.5)
    scheduler.step()
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    scheduler.step()
    assert rates(optimizer) == [0.125, 0.125]


# https://github.com/pytorch/pytorch/issues/20086
def test_the_cosine_does_not_rise_again():
    known, mine = theirs.CosineAnnealingLR(sgd(), 4), ours.CosineAnnealingLR(sgd(), 4)
    assert walk(known, 8)[-1] == pytest.approx([0.3, 0.7])
    walk(mine, 4)
    with pytest.warns(SurefootWarning, match="T_max=4") as said:
        seen = walk(mine, 4)
    assert seen == [[0.0, 0.0]] * 5
    assert len(said) == 1


def test_one_cycle_can_be_extended_and_stepped_past_its_end():
    def saved(module):
        scheduler = module.OneCycleLR(sgd(), 0.5, total_steps=10)
        walk(scheduler, 5)
        return scheduler.state_dict()

    known, mine = theirs.OneCycleLR(sgd(), 0.5, total_steps=20), ours.OneCycleLR(sgd(), 0.5, total_steps=20)
    known.load_state_dict(saved(theirs))
    mine.load_state_dict(saved(ours))
    assert (known.total_steps, mine.total_steps) == (10, 20)
    assert walk(mine, 0) == [walk(ours.OneCycleLR(sgd(), 0.5, total_steps=20), 5)[-1]]
    with pytest.raises(ValueError, match="Tried to step"):
        walk(known, 6)
    walk(mine, 15)
    with pytest.warns(SurefootWarning, match="total_steps=20"):
        seen = walk(mine, 3)
    assert all(rate == pytest.approx([0.5 / 25 / 1e4] * 2) for rate in seen)


def test_a_cut_that_eps_forbids_is_said():
    for module in (theirs, ours):
        optimizer = sgd(1e-8)
        plateau = module.ReduceLROnPlateau(optimizer, patience=0)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for _ in range(3):
                plateau.step(1.0)
        assert rates(optimizer) == [1e-8]
        assert [w.category for w in said] == ([] if module is theirs else [SurefootWarning])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_and_infinity_are_said_and_never_become_the_best(mode):
    plateau = ours.ReduceLROnPlateau(sgd(), mode=mode)
    with pytest.warns(SurefootWarning, match="without gain"):
        plateau.step(math.nan)
    for metric in (math.inf, -math.inf, 1.0):  # said once
        plateau.step(metric)
    assert plateau.best == 1.0


def test_a_change_by_hand_stays():
    for make in (MAKERS["LambdaLR"], MAKERS["OneCycleLR"], MAKERS["StepLR"], MAKERS["CosineAnnealingLR"]):
        plain, edited, known = make(ours, sgd()), make(ours, sgd()), make(theirs, sgd())
        for scheduler in (edited, known):
            scheduler.optimizer.param_groups[0]["lr"] *= 0.5
        wanted = [[a / 2, b] for a, b in walk(plain, 3)]
        assert same(walk(edited, 3), wanted)
        if make in {MAKERS["LambdaLR"], MAKERS["OneCycleLR"]}:
            assert not same(walk(known, 3)[1:], wanted[1:])


def test_a_change_by_hand_of_a_tensor_stays():
    lr = torch.tensor(0.5)
    scheduler = ours.ExponentialLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr), 0.5)
    lr.mul_(0.5)
    assert scheduler.get_last_lr() == [0.25]
    scheduler.step()
    scheduler.step()
    assert float(lr) == 0.0625


# https://github.com/pytorch/pytorch/issues/9927
def test_a_lambda_that_is_not_the_saved_one_is_said():
    for module in (theirs, ours):
        saved, fresh = module.LambdaLR(sgd(), halve), module.LambdaLR(sgd(), lambda step: 0.9**step)
        walk(saved, 2)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fresh.load_state_dict(saved.state_dict())
        assert [w.category for w in said] == ([] if module is theirs else [SurefootWarning])


def test_get_lr_is_the_rate_of_now():
    for module, now in ((theirs, 0.025), (ours, 0.1)):
        scheduler = module.ExponentialLR(sgd(0.2), 0.5)
        scheduler.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert (scheduler.get_lr() == [pytest.approx(now)]) is (module is ours)
        assert scheduler.get_last_lr() == [0.1]


@pytest.mark.parametrize("make", [*BY_STEP, pytest.param(lambda m, o: m.ReduceLROnPlateau(o), id="ReduceLROnPlateau")])
def test_the_state_is_plain_data_and_a_copy(make):
    lr = torch.tensor(0.5)
    optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for _ in "ab"], momentum=0.9)
    scheduler = make(ours, optimizer)
    state = scheduler.state_dict()
    assert {type(leaf) for leaf in leaves(state)} <= {int, float, str, bool, type(None)}
    assert through_a_file(state) == state
    kept = copy.deepcopy(state)
    if not isinstance(scheduler, theirs.ReduceLROnPlateau):
        scheduler.step()
    assert state == kept


@pytest.mark.parametrize("make", BY_STEP)
def test_a_state_of_torchs_class_is_taken(make):
    known = make(theirs, sgd())
    walk(known, 5)
    mine = make(ours, sgd())
    mine.load_state_dict(known.state_dict())
    assert same(walk(mine, 4), walk(known, 4))


@pytest.mark.parametrize("make", BY_STEP)
def test_nothing_is_kept_alive_by_cycles(make):
    gc.collect()
    gc.disable()
    try:
        scheduler = make(ours, sgd())
        optimizer = scheduler.optimizer
        walk(scheduler, 2)
        refs = weakref.ref(scheduler), weakref.ref(optimizer)
        del scheduler, optimizer
        assert [ref() for ref in refs] == [None, None]
    finally:
        gc.enable()


def test_a_scheduler_that_is_dropped_leaves_what_torchs_would():
    for name, left in (("StepLR", 0.09), ("LambdaLR", 0.3)):
        optimizer = sgd()
        scheduler = MAKERS[name](ours, optimizer)
        walk(scheduler, 3)
        del scheduler
        walk(ours.ConstantLR(optimizer, 1.0), 1)
        assert rates(optimizer)[0] == pytest.approx(left)


def test_copies_go_on_alike():
    optimizer = sgd()
    pair = MAKERS["StepLR"](ours, optimizer), ours.ReduceLROnPlateau(optimizer, patience=0)
    for _ in range(4):
        pair[0].step()
        pair[1].step(1.0)
    optimizer.param_groups[0]["lr"] *= 0.5
    twins = copy.deepcopy(pair)
    for schedulers in (pair, twins):
        schedulers[0].step()
        schedulers[1].step(1.0)
    assert rates(twins[0].optimizer) == pytest.approx(rates(optimizer), rel=1e-12)
    assert twins[0].optimizer is twins[1].optimizer is not optimizer
    part = copy.deepcopy(MAKERS["SequentialLR"](ours, sgd()))
    assert same(walk(part, 9), walk(MAKERS["SequentialLR"](ours, sgd()), 9))


def test_a_state_that_does_not_fit_is_refused():
    scheduler = ours.StepLR(sgd(), 3)
    for wrong in ({}, [1], ours.ExponentialLR(sgd(), 0.9).state_dict(), ours.StepLR(sgd(0.1), 3).state_dict()):
        with pytest.raises(StateError):
            scheduler.load_state_dict(wrong)
    with pytest.raises(StateError, match="damaged"):
        scheduler.load_state_dict({**scheduler.state_dict(), "surefoot": {"initial_lrs": [1.0, 1.0]}})
    with pytest.raises(StateError, match="1 schedulers"):
        MAKERS["SequentialLR"](ours, sgd()).load_state_dict(
            {**MAKERS["SequentialLR"](ours, sgd()).state_dict(), "_schedulers": [{}]}
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda o: ours.StepLR(o, 0),
        lambda o: ours.StepLR(o, 3, gamma=math.nan),
        lambda o: ours.MultiStepLR(o, [1], gamma=math.inf),
        lambda o: ours.ConstantLR(o, math.nan),
        lambda o: ours.LinearLR(o, math.nan),
        lambda o: ours.ExponentialLR(o, math.nan),
        lambda o: ours.PolynomialLR(o, power=-1.0),
        lambda o: ours.CosineAnnealingLR(o, 0),
        lambda o: ours.CosineAnnealingWarmRestarts(o, 3).step(-1),
        lambda o: ours.CyclicLR(o, 0.1, 0.2, step_size_up=0),
        lambda o: ours.ReduceLROnPlateau(o, factor=1.0),
        lambda o: ours.ReduceLROnPlateau(o, patience=-1),
        lambda o: ours.ReduceLROnPlateau(o, threshold=math.nan),
        lambda o: ours.SequentialLR(o, [], []),
        lambda o: ours.ChainedScheduler([]),
        lambda o: ours.SequentialLR(o, [ours.StepLR(o, 1), ours.StepLR(o, 1)], [1, 2]),
        lambda o: ours.SequentialLR(o, [ours.StepLR(o, 1) for _ in range(3)], [5, 2]),
        lambda o: ours.ChainedScheduler([ours.StepLR(o, 1), ours.StepLR(sgd(), 1)]),
    ],
)
def test_values_that_cannot_be_meant_are_refused(make):
    with pytest.raises(ArgumentError):
        make(sgd())


def test_other_schedulers_are_no_parts():
    optimizer = sgd()
    with pytest.raises(ArgumentTypeError, match="torch's own class"):
        ours.ChainedScheduler([theirs.StepLR(optimizer, 3)])


def test_a_get_lr_that_would_never_be_asked_is_refused():
    with pytest.raises(ArgumentTypeError, match="never asked"):

        class Mine(ours.StepLR):
            def get_lr(self):
                return [1.0]


def test_the_momentum_in_a_tensor_is_filled_in_place():
    beta = torch.tensor(0.9)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=0.1, betas=(0.9, 0.99))
    scheduler = ours.OneCycleLR(optimizer, 0.5, total_steps=10)
    optimizer.param_groups[0]["betas"] = (beta, 0.99)
    scheduler.step()
    assert optimizer.param_groups[0]["betas"][0] is beta
    assert float(beta) == pytest.approx(scheduler.momentum(0))


def test_warm_restarts_between_two_steps():
    mine, known = (m.CosineAnnealingWarmRestarts(sgd(), 3, T_mult=2) for m in (ours, theirs))
    for epoch in (0.5, 2.9, 3.5, 8.75, 10.0, 1.25):
        mine.step(epoch)
        known.step(epoch)
        assert rates(mine.optimizer) == pytest.approx(rates(known.optimizer), rel=1e-12)


def test_one_class_at_a_step_goes_on_for_the_one_before_it():
    optimizer = sgd()
    before = ours.ExponentialLR(optimizer, 0.5)
    walk(before, 2)
    after = ours.ExponentialLR(optimizer, 0.5, last_epoch=2)
    assert rates(optimizer) == [0.3 / 8, 0.7 / 8]
    assert repr(after) == "<ExponentialLR at step 3>"
    with pytest.raises(KeyError, match="initial_lr"):
        ours.ExponentialLR(sgd(), 0.5, last_epoch=2)


def test_a_milestone_at_0_begins_with_the_second():
    optimizer = sgd()
    ours.SequentialLR(optimizer, [ours.ConstantLR(optimizer, 0.1), ours.ExponentialLR(optimizer, 0.5)], [0])
    assert rates(optimizer) == [0.3, 0.7]
