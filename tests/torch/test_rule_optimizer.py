"""Any rule as a torch optimizer, DoG among them; clipping inside the step; what all optimizers refuse."""

import copy
import io
import pickle

import numpy as np
import pytest

import surefoot.torch as ours
import torch
from surefoot import ArgumentError, ArgumentTypeError, rules
from surefoot.torch import DoG, RuleOptimizer, _fused, _gather, _plan
from torch import nn

from ..rules.examples import SoftSign


def weights(*shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64).to(dtype)) for s in shapes]


def give(parameters, step):
    generator = torch.Generator().manual_seed(step)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)


def run(optimizer, steps):
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in steps:
        give(parameters, step)
        optimizer.step()
    return parameters


# ---- the whole model ------------------------------------------------------------------------------------------------


class SlowDoG(DoG):
    def _present_plan(self):
        return None


@pytest.mark.parametrize("cls", [DoG, SlowDoG])
def test_dog_takes_its_norms_over_all_groups_and_types(cls):
    mine = weights((3, 2), (5,), (4,))
    mine[1].data = mine[1].data.float()
    start = [p.detach().double().numpy().copy() for p in mine]
    optimizer = cls([{"params": mine[:2]}, {"params": mine[2:], "lr": 0.5}], start=0.1)
    run(optimizer, range(6))
    rule = rules.DoG(start=0.1)
    x = rules.Vector(start)
    slots = rule.init(x)
    rate = rules.Vector([1.0, 1.0, 0.5])
    for step in range(6):
        twins = weights((3, 2), (5,), (4,))
        give(twins, step)
        dx, slots = rule.step(x, rules.Vector(p.grad.numpy() for p in twins), step + 1, rate, **slots)
        x = x + dx
    for p, q in zip(mine, x.leaves, strict=True):
        np.testing.assert_allclose(p.detach().double().numpy(), q, rtol=1e-5)  # one is float32, and is in the norms
    assert float(optimizer.state[mine[0]]["r"]) == float(optimizer.state[mine[2]]["r"])


def test_a_parameter_that_comes_later_shares_the_distance():
    first, later = weights((3,), (2,))
    optimizer = DoG([first, later], start=0.1)
    for step in range(3):
        give([first], step)
        optimizer.step()
    far = float(optimizer.state[first]["r"])
    give([first, later], 9)
    later.grad.zero_()
    optimizer.step()
    assert float(optimizer.state[later]["r"]) >= far
    assert torch.equal(optimizer.state[later]["x0"], later)


# ---- state ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [SoftSign(), rules.DoG(start=0.1), rules.NAdam()], ids=repr)
@pytest.mark.parametrize("way", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"])
def test_a_copy_goes_on_by_itself(rule, way):
    optimizer = RuleOptimizer(weights((3,), (2, 2), dtype=torch.float32), rule, 0.1)
    run(optimizer, range(3))
    other = way(optimizer)
    a, b = run(optimizer, range(3, 6)), run(other, range(3, 6))
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def test_the_state_is_plain_and_can_be_loaded_safely():
    optimizer = RuleOptimizer(weights((3,), dtype=torch.float32), rules.DoG(start=0.1), 1.0, clip_global_norm=2.0)
    run(optimizer, range(3))
    kept = io.BytesIO()
    torch.save(optimizer.state_dict(), kept)
    kept.seek(0)
    state = torch.load(kept, weights_only=True)
    assert state["param_groups"][0]["start"] == 0.1
    assert set(state["state"][0]) == {"step", "x0", "r", "s"}
    assert state["state"][0]["r"].dtype is torch.float64


def test_the_rules_numbers_are_settings_of_the_groups():
    a, b = weights((3,), (3,))
    optimizer = RuleOptimizer([{"params": [a]}, {"params": [b], "momentum": 0.0}], rules.SGD(momentum=0.9), 0.1)
    run(optimizer, range(3))
    assert "m" in optimizer.state[a]
    assert "m" not in optimizer.state[b]
    optimizer.param_groups[0]["momentum"] = 0.5
    before = a.detach().clone()
    m = optimizer.state[a]["m"].clone()
    give([a], 7)
    optimizer.step()
    torch.testing.assert_close(a.detach(), before - 0.1 * (0.5 * m + a.grad), rtol=1e-12, atol=0)


# ---- clipping ---------------------------------------------------------------------------------------------------------


def clipped_by_torch(parameters, value=None, norm=None, global_norm=None):
    for p in parameters:
        if norm is not None:
            p.grad = p.grad * (norm / max(float(p.grad.norm()), norm))
    if value is not None:
        nn.utils.clip_grad_value_(parameters, value)
    if global_norm is not None:
        whole = float(torch.cat([p.grad.flatten() for p in parameters]).norm())
        for p in parameters:
            p.grad = p.grad * (global_norm / max(whole, global_norm))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("clip", [{"value": 0.3}, {"norm": 0.5}, {"global_norm": 0.7}], ids=str)
@pytest.mark.parametrize("name", ["Adam", "SGD", "Lion"])
def test_clipping_is_that_of_torch_and_leaves_the_gradients_alone(name, clip, dtype):
    mine, theirs = weights((3, 2), (5,), dtype=dtype), weights((3, 2), (5,), dtype=dtype)
    a = getattr(ours, name)(mine, lr=0.1).clip(**clip)
    b = getattr(ours, name)(theirs, lr=0.1)
    for step in range(6):
        give(mine, step)
        before = [p.grad.clone() for p in mine]
        a.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(mine, before, strict=True))
        give(theirs, step)
        clipped_by_torch(theirs, **clip)
        b.step()
    assert (a._plan is not None) == (dtype is torch.float64)
    for p, q in zip(mine, theirs, strict=True):
        rtol, atol = (
            (1e-12, 0.0) if dtype is torch.float64 else (3e-2, 3e-2)
        )  # torch rounds every operation to bfloat16
        torch.testing.assert_close(p.detach(), q.detach(), rtol=rtol, atol=atol)


def test_clipping_can_be_turned_off_and_survives_a_state_of_torchs():
    mine = weights((5,))
    a = ours.Adam(mine).clip(global_norm=0.1)
    other = torch.optim.Adam(weights((5,)))
    run(other, range(2))
    a.load_state_dict(other.state_dict())
    assert a.complete(a.param_groups[0]).clip_global_norm == 0.1
    assert a.clip().complete(a.param_groups[0]).clip_global_norm is None


class SlowAdam(ours.Adam):
    def _present_plan(self):
        return None


@pytest.mark.parametrize("cls", [ours.Adam, SlowAdam])
def test_groups_may_be_clipped_each_in_its_way(cls):
    mine, theirs = weights((3, 2), (5,)), weights((3, 2), (5,))
    a = cls([{"params": mine[:1], "clip_norm": 0.5}, {"params": mine[1:]}], lr=0.1)
    b = ours.Adam(theirs, lr=0.1)
    for step in range(4):
        give(mine, step)
        a.step()
        give(theirs, step)
        clipped_by_torch(theirs[:1], norm=0.5)
        b.step()
    assert (a._plan is None) == (cls is SlowAdam)
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("cls", [ours.Adam, SlowAdam])
def test_groups_that_do_not_agree_in_the_global_norm_are_refused(cls):
    mine = weights((3,), (5,))
    optimizer = cls([{"params": mine[:1], "clip_global_norm": 0.5}, {"params": mine[1:]}], lr=0.1)
    give(mine, 0)
    before = [p.detach().clone() for p in mine]
    with pytest.raises(ArgumentError, match="Clip all groups by the global norm, or none"):
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(mine, before, strict=True))


@pytest.mark.parametrize(
    "bad", [{"value": 0.0}, {"norm": -1.0}, {"global_norm": float("nan")}, {"value": 1.0, "norm": 1.0}]
)
def test_a_bad_limit_is_refused_and_nothing_is_changed(bad):
    optimizer = ours.Adam(weights((2,))).clip(value=0.5)
    with pytest.raises(ArgumentError, match="clip_"):
        optimizer.clip(**bad)
    assert optimizer.param_groups[0]["clip_value"] == 0.5


# ---- under the compiler, and in half precision ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Profiler record function:UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda p: ours.Adam(p, lr=0.01),
        lambda p: ours.RMSprop(p, lr=0.01).clip(global_norm=1.0),
        lambda p: DoG(p, start=0.1),
        lambda p: RuleOptimizer(p, SoftSign(), 0.1),
    ],
    ids=["Adam", "clipped", "DoG", "made up"],
)
def test_a_compiled_training_step_takes_the_same_steps_and_is_compiled_once(make):
    torch._dynamo.reset()
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    found = []
    for compile_ in (lambda f: f, lambda f: torch.compile(f, backend=backend)):
        mine = weights((3, 2), (2,))
        optimizer = make(mine)
        x = torch.ones(4, 3, dtype=torch.float64)

        def train(optimizer=optimizer, mine=mine, x=x):
            loss = (torch.tanh(x @ mine[0]) + mine[1]).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        step = compile_(train)
        for i in range(8):
            optimizer.param_groups[0]["lr"] = 0.01 / (1 + i)
            step()
            if i == 2:
                seen = len(compiled)
        found.append([p.detach().clone() for p in mine])
    assert 0 < len(compiled) == seen, "a new rate compiled again"
    for p, q in zip(*found, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_counts_in_float32(dtype):
    small, wide = weights((64,), dtype=dtype), weights((64,), dtype=torch.float32)
    wide[0].data = small[0].data.float()
    a, b = RuleOptimizer(small, rules.Adam(), 0.01), RuleOptimizer(wide, rules.Adam(), 0.01)
    give(small, 0)
    wide[0].grad = small[0].grad.float()
    a.step()
    b.step()
    assert torch.equal(small[0].detach(), wide[0].detach().to(dtype))
    assert a.state[small[0]]["m"].dtype is dtype


@pytest.mark.filterwarnings("ignore:surefoot takes torch's own optimizer steps")
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "Adam", "AdamW"])
def test_without_a_compiler_torchs_fastest_way_is_taken_unless_one_was_chosen(name, monkeypatch):
    monkeypatch.setattr(_fused, "_can_build", lambda: False)
    found = {}
    for way, cls, options in [
        ("free", getattr(ours, name), {}),
        ("fused", getattr(torch.optim, name), {"fused": True}),
        ("chosen", getattr(ours, name), {"foreach": False}),
        ("for-loop", getattr(torch.optim, name), {"foreach": False}),
    ]:
        optimizer = cls(weights((40,), (3,), dtype=torch.float32), lr=0.1, **options)
        found[way] = run(optimizer, range(5))
        assert optimizer.param_groups[0]["fused"] is options.get("fused")
    for a, b in (("free", "fused"), ("chosen", "for-loop")):
        assert all(torch.equal(p, q) for p, q in zip(found[a], found[b], strict=True)), a


# ---- refusals ---------------------------------------------------------------------------------------------------------------


def made(cls, parameters, **options):
    return cls(parameters, SoftSign(), **{"lr": 0.1, **options}) if cls is RuleOptimizer else cls(parameters, **options)


ALL = [*(getattr(ours, n) for n in ("SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW")), ours.NAdam, ours.RAdam]
ALL += [ours.Adamax, ours.Lion, DoG, RuleOptimizer]


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_a_bad_rate_is_refused_by_name_value_and_what_is_allowed(cls, rate):
    with pytest.raises(ArgumentError, match=rf"`{cls.__name__}\(lr={rate}\)`: lr must be a finite number at least 0.0"):
        made(cls, weights((2,)), lr=rate)


@pytest.mark.parametrize("cls", ALL)
def test_a_bad_later_group_is_refused_before_it_is_added(cls):
    optimizer = made(cls, weights((2,)))
    other = weights((2,))[0]
    for bad in ({"lr": -1.0}, {"weight_decay": float("nan")}):
        with pytest.raises(ArgumentError, match=cls.__name__):
            optimizer.add_param_group({"params": [other], **bad})
    with pytest.raises(ArgumentError, match=r"parameter 2 twice.*each parameter once"):
        optimizer.add_param_group({"params": [other, weights((1,))[0], other]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda w: ours.Adam(w, betas=(1.0, 0.9)),
            r"`Adam\(b1=1.0\)`: b1 must be a finite number at least 0.0 and below",
        ),
        (lambda w: ours.RMSprop(w, eps=-1.0), r"`RMSprop\(eps=-1.0\)`"),
        (lambda w: ours.NAdam(w, weight_decay=-1.0), r"`NAdam\(weight_decay=-1.0\)`"),
        (lambda w: ours.Lion(w, betas=(0.9, 2.0)), r"`Lion\(b2=2.0\)`"),
        (lambda w: DoG(w, start=-1.0), r"`DoG\(start=-1.0\)`"),
        (lambda w: RuleOptimizer(w, SoftSign(), 0.1, clip_norm=0.0), "clip_norm"),
    ],
)
def test_a_bad_number_is_refused_in_our_words(make, words):
    with pytest.raises(ArgumentError, match=words):
        make(weights((2,)))


def test_no_parameters_complex_ones_and_no_rule_are_refused():
    with pytest.raises(ValueError, match="empty parameter list"):
        RuleOptimizer([], SoftSign(), 0.1)
    with pytest.raises(ArgumentError, match=r"`DoG\(params=torch.complex64\)`: params must be real. .*view_as_real"):
        DoG([nn.Parameter(torch.ones(1, dtype=torch.complex64))])
    with pytest.raises(ArgumentTypeError, match=r"`RuleOptimizer\(rule='adam'\)`"):
        RuleOptimizer(weights((2,)), "adam", 0.1)


# ---- addresses, natively and in Python ------------------------------------------------------------------------------------


def cases():
    yield "right", lambda p: None, True
    yield "no gradient", lambda p: setattr(p, "grad", None), False
    yield "another size", lambda p: setattr(p, "data", torch.ones(3, 3)), False
    yield "another type", lambda p: setattr(p, "data", torch.ones(2, 3, dtype=torch.float64)), False
    yield "a gradient that is not contiguous", lambda p: setattr(p, "grad", torch.ones(3, 2).t()), False
    yield "a parameter that is not contiguous", lambda p: setattr(p, "data", torch.ones(3, 2).t()), False
    yield "other memory", lambda p: setattr(p, "data", p.data.clone()), True
    yield "swapped", lambda p: torch.utils.swap_tensors(p, nn.Parameter(torch.ones(2, 3))), False


@pytest.mark.parametrize(("change", "expected"), [pytest.param(c, e, id=n) for n, c, e in cases()])
@pytest.mark.parametrize("kind", ["native", "python"])
def test_addresses_are_those_of_the_tensors_or_there_are_none(kind, change, expected):
    parameters = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(5))]
    pointers = np.zeros((2, 4), dtype=np.uint64)
    if kind == "native":
        assert _gather.native() is not None, "the native way is not used on this torch"
        ask = _gather.Gatherer(_gather.native(), parameters, pointers)
    else:
        ask = _plan.addresses(parameters, pointers)
    for p in parameters:
        p.grad = torch.zeros_like(p)
    change(parameters[0])
    try:
        assert ask() == expected
    except AttributeError:
        assert kind == "python"
        assert parameters[0].grad is None
    if expected:
        assert pointers[:, :2].tolist() == [[p.data_ptr(), p.grad.data_ptr()] for p in parameters]
        assert not pointers[:, 2:].any()


def test_a_torch_of_another_kind_is_served_in_python(monkeypatch):
    monkeypatch.setattr(_gather, "_GRADIENT", "no_such_function")
    _gather.native.cache_clear()
    try:
        assert _gather.native() is None
        mine = weights((5,), (3,))
        optimizer = ours.Adam(mine)
        run(optimizer, range(4))
        assert optimizer._plan is not None
    finally:
        _gather.native.cache_clear()
    other = weights((5,), (3,))
    run(ours.Adam(other), range(4))
    assert all(torch.equal(p, q) for p, q in zip(mine, other, strict=True))
