import random

import numpy as np
import pytest

import torch
from surefoot.torch._random import CPU, Noise, Randomness, borrowed, seeded


def draw():
    return torch.rand(()).item(), random.random(), float(np.random.rand())  # noqa: NPY002


def draw_and_break():
    with borrowed(CPU):
        draw()
        seeded(5)
        raise ZeroDivisionError


def test_borrowed_generators_are_given_back():
    seeded(1)
    want = [draw(), draw()]
    seeded(1)
    got = [draw()]
    with pytest.raises(ZeroDivisionError):
        draw_and_break()
    assert [*got, draw()] == want


def test_states_come_back_from_plain_data():
    with borrowed(CPU):
        seeded(3)
        random.gauss(0, 1)
        np.random.randn()  # noqa: NPY002 - leaves half of a pair behind
        state = Randomness.take(CPU)
        want = draw(), random.gauss(0, 1), np.random.randn()  # noqa: NPY002
        seeded(4)
        Randomness.from_plain(state.to_plain()).give(CPU)
        assert (draw(), random.gauss(0, 1), np.random.randn()) == want  # noqa: NPY002


@pytest.mark.parametrize("seed", [0, 2**32, 2**64, 10**30])
def test_any_seed_that_find_allows_is_taken(seed):
    with borrowed(CPU):
        seeded(seed)
        want = draw()
        seeded(seed)
        assert draw() == want


def test_noise_is_its_own_stream_and_leaves_the_others_alone():
    own = torch.Generator().manual_seed(9)
    before = own.get_state()
    noise, twin = Noise(1, [own]), Noise(1, [own])
    with borrowed(CPU):
        seeded(0)
        want = draw(), draw()
        seeded(0)
        with noise.lent():
            first = draw(), torch.rand((), generator=own).item()
        got = draw()
        with noise.lent():
            second = draw(), torch.rand((), generator=own).item()
        assert (got, draw()) == want
    with twin.lent():
        assert [(draw(), torch.rand((), generator=own).item()) for _ in range(2)] == [first, second]
    assert torch.equal(own.get_state(), before)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_device_has_a_generator_of_its_own(kind, monkeypatch):
    """There is none here: its functions are replaced, and the calls looked at."""
    calls = []
    api = getattr(torch, kind)
    state = torch.zeros(16, dtype=torch.uint8)
    monkeypatch.setattr(api, "get_rng_state", lambda *where: calls.append("get") or state)
    monkeypatch.setattr(api, "set_rng_state", lambda *what: calls.append("set"))
    monkeypatch.setattr(api, "manual_seed", calls.append)
    if kind == "cuda":
        monkeypatch.setattr(api, "device", lambda device: borrowed(CPU))
    device = torch.device(kind)
    with borrowed(device):
        seeded(7, device)
    assert calls == ["get", 7, "set"]
    calls.clear()
    with borrowed(CPU):
        seeded(7)  # a job on the CPU leaves the device alone
        Noise(3, [])
    assert calls == []
    with borrowed(CPU):
        Randomness.from_plain(Randomness.take(device).to_plain()).give(device)
    assert calls == ["get", "set"]
