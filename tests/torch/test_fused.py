"""The torch optimizers of ours against torch's own: numbers, state, fallbacks."""

import copy
import pickle

import pytest

import surefoot.torch as ours
import torch
from surefoot import SurefootWarning
from surefoot.kernels import _launch
from surefoot.torch import _fused
from torch import nn

from .plain_lion import PlainLion

CASES = [
    ("SGD", {"lr": 0.01}),
    ("SGD", {"lr": 0.01, "momentum": 0.9}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1, "weight_decay": 0.01}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.95, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("Adam", {"betas": (0.0, 0.99), "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "weight_decay": 0.0}),
    ("RAdam", {}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adamax", {}),
    ("Adamax", {"weight_decay": 0.1}),
]
NAMES = sorted({name for name, _ in CASES} | {"NAdam"})


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in ((7, 5), (300,), (), (3, 2, 2))]


def gradients(step, dtype=torch.float64):
    """Random gradients; now and then zeros, tiny, huge and denormal ones; the third tensor has none before step 5."""
    generator = torch.Generator().manual_seed(step)
    scale = {7: 0.0, 11: 1e-20, 13: 1e20, 17: 1e-310}.get(step, 1.0)
    given = [scale * torch.randn(t.shape, generator=generator, dtype=dtype) for t in tensors(dtype)]
    return given if step >= 5 else [given[0], given[1], None, given[3]]


def run(make, steps=range(40), parameters=None, optimizer=None):
    parameters = tensors() if parameters is None else parameters
    optimizer = optimizer or make(parameters)
    for step in steps:
        for p, g in zip(parameters, gradients(step, parameters[0].dtype), strict=True):
            p.grad = None if g is None else g.clone()
        optimizer.step()
    return parameters, optimizer


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_takes_the_steps_of_torch(name, settings):
    theirs, _ = run(lambda p: getattr(torch.optim, name)(p, foreach=False, **settings))
    mine, optimizer = run(lambda p: getattr(ours, name)(p, **settings))
    assert optimizer._plan is not None, "no kernel was used"
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1, "decoupled_weight_decay": True}])
def test_nadam_takes_the_steps_of_torch_to_the_precision_of_its_product(settings):
    # torch keeps mu_product in the default type, float32: its rounding, 6e-8 a step, is all that differs
    theirs, _ = run(lambda p: torch.optim.NAdam(p, foreach=False, **settings))
    mine, _ = run(lambda p: ours.NAdam(p, **settings))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_lion_takes_the_same_steps_with_and_without_a_kernel():
    mine, optimizer = run(lambda p: ours.Lion(p, lr=1e-3, weight_decay=0.1))
    assert optimizer._plan is not None
    plain, _ = run(lambda p: PlainLion(p, lr=1e-3, weight_decay=0.1))
    for a, b in zip(mine, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_can_switch_to_torch_and_back(name):
    whole, _ = run(lambda p: getattr(torch.optim, name)(p, lr=0.01, foreach=False), range(30))
    parameters, optimizer = run(lambda p: getattr(ours, name)(p, lr=0.01), range(10))
    for host, steps in ((torch.optim, range(10, 20)), (ours, range(20, 30))):
        following = getattr(host, name)(parameters, lr=0.01)
        following.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        parameters, optimizer = run(None, steps, parameters, following)
    for a, b in zip(parameters, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_each_parameter_in_the_state_dict_has_a_step_of_its_own():
    _, optimizer = run(ours.Adam)
    steps = [state["step"] for state in optimizer.state_dict()["state"].values()]
    assert len({id(s) for s in steps}) == len(steps)
    assert sorted(float(s) for s in steps) == [35.0, 40.0, 40.0, 40.0]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copied_optimizer_goes_on_by_itself(copied):
    parameters, optimizer = run(ours.Adam, range(8))
    other = copied(optimizer)
    twin = [p for group in other.param_groups for p in group["params"]]
    run(None, range(8, 12), parameters, optimizer)
    run(None, range(8, 12), twin, other)
    for a, b in zip(parameters, twin, strict=True):
        assert torch.equal(a, b)


def test_changed_numbers_never_build_again(monkeypatch):
    parameters, optimizer = run(ours.AdamW, range(6, 8))
    monkeypatch.setattr(_launch, "load", lambda *_: pytest.fail("a kernel was built again"))
    for step in range(8, 14):
        optimizer.param_groups[0].update(lr=0.1 / step, betas=(0.8 + step / 100, 0.99), weight_decay=0.1 + step)
        run(None, [step], parameters, optimizer)


def test_a_setting_that_leaves_zero_takes_effect():
    def changing(host):
        parameters, optimizer = run(host.Adam, range(8))
        optimizer.param_groups[0]["weight_decay"] = 0.3
        return run(None, range(8, 16), parameters, optimizer)[0]

    for a, b in zip(changing(ours), changing(torch.optim), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_groups_have_their_own_settings_and_may_come_later():
    def grouped(host):
        parameters = tensors()
        optimizer = host.Adam([{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:3], "weight_decay": 0.1}])
        run(None, range(8), parameters, optimizer)
        optimizer.add_param_group({"params": parameters[3:], "lr": 0.3})
        return run(None, range(8, 16), parameters, optimizer)[0]

    for a, b in zip(grouped(ours), grouped(torch.optim), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hooks_run_once_a_step_with_a_kernel_and_without(dtype):
    parameters = tensors(dtype)
    optimizer = ours.Adam(parameters)
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    run(None, range(5, 8), parameters, optimizer)
    assert calls == ["pre", "post"] * 3
    assert (optimizer._plan is not None) == (dtype is torch.float32)


def test_a_tensor_that_is_not_contiguous_gets_the_steps_of_torch():
    def transposed(host):
        torch.manual_seed(0)
        parameter = nn.Parameter(torch.randn(4, 6).T)
        optimizer = host.Adam([parameter])
        for _ in range(5):
            optimizer.zero_grad()
            (parameter * torch.arange(24.0).reshape(6, 4)).square().sum().backward()
            optimizer.step()
        return parameter.detach()

    assert torch.equal(transposed(ours), transposed(torch.optim))


def test_two_types_in_one_model_are_served_together():
    def mixed(host):
        parameters = [torch.ones(5, requires_grad=True), torch.ones(7, dtype=torch.float64, requires_grad=True)]
        optimizer = host.RMSprop(parameters)
        for _ in range(5):
            for p in parameters:
                p.grad = torch.linspace(-1, 1, len(p), dtype=p.dtype)
            optimizer.step()
        return parameters

    for a, b in zip(mixed(ours), mixed(torch.optim), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_two_threads_give_the_numbers_of_one():
    def threaded(count):
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            torch.manual_seed(0)
            parameters = [torch.randn(70_000, requires_grad=True), torch.randn(200, 300, requires_grad=True)]
            optimizer = ours.Adam(parameters)
            for _ in range(3):
                for p in parameters:
                    p.grad = p.detach().sin()
                optimizer.step()
            return parameters
        finally:
            torch.set_num_threads(before)

    for a, b in zip(threaded(1), threaded(2), strict=True):
        assert torch.equal(a, b)


def test_a_closure_is_called_once_and_its_loss_returned():
    parameter = nn.Parameter(torch.tensor([3.0]))
    optimizer = ours.SGD([parameter], lr=0.1)
    calls = []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 9.0
    assert calls == [1]
    torch.testing.assert_close(parameter.detach(), torch.tensor([2.4]))


def test_without_a_compiler_torch_takes_the_steps_and_it_is_said_once(monkeypatch):
    def refuse(*_):
        raise _fused.CannotBuild("there is no C++ compiler: install g++ or clang++, or set CXX")

    monkeypatch.setattr(_fused, "load", refuse)
    _fused._can_build.cache_clear()
    _fused.say_slow.cache_clear()
    try:
        with pytest.warns(SurefootWarning, match=r"install g\+\+") as said:
            mine, optimizer = run(ours.Adam)
        assert len(said) == 1
    finally:
        _fused._can_build.cache_clear()
    theirs, _ = run(lambda p: torch.optim.Adam(p, fused=True))  # the fastest of torch's own ways
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a, b)
    assert [group["fused"] for group in optimizer.param_groups] == [None]  # as the user left it


def test_bad_numbers_are_refused_at_once():
    with pytest.raises(ValueError, match="-1"):
        ours.Adam(tensors(), lr=-1)
    with pytest.raises(ValueError, match=r"Lion\(lr=-1"):
        ours.Lion(tensors(), lr=-1.0)


def test_a_number_that_only_torch_takes_gets_the_steps_of_torch():
    mine, optimizer = run(lambda p: ours.SGD(p, lr=0.01, momentum=1.5))
    theirs, _ = run(lambda p: torch.optim.SGD(p, lr=0.01, momentum=1.5))
    assert optimizer._plan is None
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a, b)
