"""Kernels: what a rule traces to, and a cache that is never wrong, shared by force, or trusted by mistake."""

import ctypes
import math
import os
import stat
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import numpy as np
import pytest

from surefoot import rules
from surefoot.kernels import (
    Batch,
    CannotBuild,
    Kernel,
    _build,
    interpret,
    load,
    number_fields,
    source,
    take_step,
    tasks,
    trace,
)
from surefoot.rules import Rule, Vector

TEXT = 'extern "C" int answer() { return 42; }\n'
RULES = [
    rules.SGD(),
    rules.SGD(momentum=0.9, dampening=0.5, nesterov=True),
    rules.Adagrad(lr_decay=0.1),
    rules.Adadelta(),
    rules.RMSprop(momentum=0.9, centered=True),
    rules.Adam(),
    rules.Adam(amsgrad=True),
    rules.Adam(nesterov=True, eps_root=1e-3),
    rules.NAdam(),
    rules.RAdam(),
    rules.RAdam(eps_corrected=True, eps_root=1e-3, nesterov=True),
    rules.Adamax(),
    rules.Lion(),
]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SUREFOOT_CACHE", str(tmp_path))
    load.cache_clear()
    yield tmp_path / "surefoot" / "kernels"
    load.cache_clear()


# ---- tracing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_trace_is_stable(rule):
    one, two = trace(rule), trace(rule)
    assert one.identity == two.identity
    assert one.source == two.source
    assert source(one, "double") == source(two, "double")
    assert source(one, "double") != source(one, "float")


def test_numbers_are_no_part_of_the_kernel_but_zero_is():
    texts = [source(trace(rules.SGD(momentum=m)), "float") for m in (0.0, 0.5, 0.9)]
    assert texts[0] != texts[1]
    assert texts[1] == texts[2]


def test_the_text_of_plain_descent():
    program = trace(rules.SGD())
    (only,) = program.passes
    assert program.arrays == ("x", "g")
    assert only.lines == (("_a0", "*", ("_k0", "g")), ("_a1", "+", ("x", "_a0")))
    assert only.outputs == (("x", "_a1"),)
    values = {"t": 1.0, "lr": 0.5, **number_fields(rules.SGD())}
    assert only.scalars(values) == [-0.5]
    assert program.new_scalars(values) == {}


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_program_computes_what_the_rule_does_on_numbers(rule: Rule):
    program = trace(rule)
    x, slots = 1.5, rule.init(1.5)
    y, memory = 1.5, dict(slots)
    for t in range(1, 12):
        g, lr = math.sin(t) + 0.1, 0.1 / t
        dx, slots = rule.step(x, g, float(t), lr, **slots)
        x += dx
        numbers = {name: memory.pop(name) for name in rule.scalar_slots}
        values = {"t": float(t), "lr": lr, **number_fields(rule), **numbers}
        now = {"x": y, "g": g, **memory}
        interpret([program], [values], [0], lambda _, now=now: now, lambda _, new, now=now: now.update(new))
        y = now["x"]
        memory = {name: values[name] if name in rule.scalar_slots else now[name] for name in slots}
        assert y == pytest.approx(x, rel=1e-13)
        assert memory == pytest.approx(slots, rel=1e-13)


SIZES = (3, 1, 70_000)  # more than one task


def clipped(**settings):
    return rules.Complete(rule=rules.Adam(), weight_decay=0.1, **settings)


@pytest.mark.parametrize(
    "rule",
    [
        *RULES,
        rules.DoWG(start=0.1),
        rules.DAdaptSGD(d0=0.1, momentum=0.9),
        rules.DAdaptAdam(d0=0.1, growth=1.02, use_bias_correction=True),
        rules.Complete(rule=rules.Prodigy(d0=0.1, growth=1.02), weight_decay=0.1),
        rules.Complete(rule=rules.DoG(start=0.1), clip_global_norm=2.0, weight_decay=0.1, is_decoupled=False),
        rules.Complete(rule=rules.SGD(momentum=0.9), clip_value=0.3, maximize=True),
        clipped(clip_norm=2.0),
        clipped(clip_global_norm=2.0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_kernel_and_the_interpreter_take_the_steps_of_the_rule_on_a_whole_model(cache, rule, threads):
    random = np.random.default_rng(5)
    start = Vector(random.normal(size=n) for n in SIZES)
    program = trace(rule)
    x, slots = start, rule.init(start)
    copies = [[{"x": a.copy(), **_arrays(program, slots, i)} for i, a in enumerate(start.leaves)] for _ in range(2)]
    numbers = [{name: float(slots[name]) for name in rule.scalar_slots} for _ in range(2)]
    batch = Batch(Kernel(program, "double"), [program], SIZES, [0] * len(SIZES))
    for t in range(1, 6):
        g = Vector(random.normal(size=n) for n in SIZES)
        dx, slots = rule.step(x, g, float(t), 0.1 / t, **slots)
        x = x + dx
        values = [{"t": float(t), "lr": 0.1 / t, **number_fields(rule), **found} for found in numbers]
        for i, leaf in enumerate(g.leaves):
            copies[0][i]["g"] = copies[1][i]["g"] = leaf
            batch.pointers[i] = [copies[0][i][name].ctypes.data for name in program.arrays]
        take_step([batch], [[values[0]]], threads)
        interpret([program], [values[1]], [0] * 3, copies[1].__getitem__, lambda i, new: copies[1][i].update(new))
        numbers = [{name: v[name] for name in rule.scalar_slots} for v in values]
        for found, scalars in zip(copies, numbers, strict=True):
            assert scalars == pytest.approx({name: float(slots[name]) for name in rule.scalar_slots}, rel=1e-12)
            for i, leaf in enumerate(x.leaves):
                np.testing.assert_allclose(found[i]["x"], leaf, rtol=1e-11, atol=1e-14)


def _arrays(program, slots, i):
    return {name: np.array(slots[name].leaves[i]) for name in program.arrays[2:]}


def test_a_rule_over_the_whole_model_takes_as_few_passes_as_it_can():
    assert len(trace(rules.Adam()).passes) == 1
    assert len(trace(rules.DoG()).passes) == 2  # both norms in the first
    assert len(trace(rules.DAdaptAdam()).passes) == 1  # the step goes with the old estimate
    assert len(trace(rules.DAdaptSGD()).passes) == 2  # the first norm, then the step
    assert len(trace(rules.Prodigy()).passes) == 2  # the new estimate is in the term of eps
    assert len(trace(clipped(clip_norm=1.0)).passes) == 2
    assert len(trace(rules.Complete(rule=rules.DoG(), clip_global_norm=1.0)).passes) == 3  # the norm of what is clipped


def test_sums_do_not_depend_on_the_number_of_threads(cache):
    x = np.random.default_rng(1).normal(size=300_000).astype("float32")
    program = trace(rules.DoG(start=0.1))
    found = []
    for threads in (1, 2):
        arrays = {"x": x.copy(), "g": x * x, "x0": x * 0.5}
        batch = Batch(Kernel(program, "float"), [program], [x.size], [0])
        batch.pointers[0] = [arrays[name].ctypes.data for name in program.arrays]
        values = {"t": 1.0, "lr": 1.0, **number_fields(rules.DoG()), "r": 0.1, "s": 0.0}
        take_step([batch], [[values]], threads)
        found.append((values["r"], values["s"], arrays["x"].tobytes()))
    assert found[0] == found[1]


@dataclass(frozen=True)
class Hasty(Rule):
    """Asks in Python for what is not known when it is traced."""

    limit: float = 1.0

    def step(self, x, g, t, lr, **slots):
        return (-lr * g if t > 3 else -g), {}


@dataclass(frozen=True)
class OddNames(Rule):
    """Its slots have names that a kernel might use itself."""

    k: float = 0.5

    def init(self, x):
        return dict.fromkeys(("i", "s0", "a0", "k0", "start", "double"), 0.0 * x)

    def step(self, x, g, t, lr, **slots):
        slots = {name: self.k * value + (1 + i) * g for i, (name, value) in enumerate(slots.items())}
        return -lr * sum(slots.values()), slots


def test_slots_may_have_any_name(cache):
    rule = OddNames()
    program = trace(rule)
    x = np.array([1.0, -2.0])
    dx, new = rule.step(x, x, 1.0, 0.1, **rule.init(x))
    arrays = {"x": x.copy(), "g": x, **rule.init(x)}
    arrays = {name: np.array(a) for name, a in arrays.items()}
    batch = Batch(Kernel(program, "double"), [program], [2], [0])
    batch.pointers[0] = [arrays[name].ctypes.data for name in program.arrays]
    take_step([batch], [[{"t": 1.0, "lr": 0.1, **number_fields(rule)}]], 1)
    np.testing.assert_allclose(arrays["x"], x + dx, rtol=1e-14)
    for name, value in new.items():
        np.testing.assert_allclose(arrays[name], value, rtol=1e-14)


def test_a_rule_that_asks_too_early_is_refused_with_a_cure():
    with pytest.raises(TypeError, match=r"Use `where\(condition, a, b\)`"):
        trace(Hasty())


def test_tasks_cover_every_element_once():
    sizes = [0, 1, 65_536, 65_537, 200_000]
    flat = tasks(sizes, [0, 3, 3, 3, 7])
    rows = [tuple(flat[i : i + 4]) for i in range(0, len(flat), 4)]
    for tensor, size in enumerate(sizes):
        spans = [(start, start + length) for number, start, length, _ in rows if number == tensor]
        assert [a for a, _ in spans] == [0, *(b for _, b in spans)][: len(spans)]
        assert sum(b - a for a, b in spans) == size
    assert {offset for number, _, _, offset in rows if number == 4} == {7}


# ---- the cache ----------------------------------------------------------------------------------------------------------


def test_a_kernel_is_built_once_and_kept_in_the_folder_that_is_asked_for(cache, monkeypatch):
    assert load(TEXT).answer() == 42
    (kept,) = cache.iterdir()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    load.cache_clear()
    monkeypatch.setattr(_build, "_compile", lambda *_: pytest.fail("built again"))
    assert load(TEXT).answer() == 42
    assert list(cache.iterdir()) == [kept]


def test_another_text_is_another_file(cache):
    load(TEXT)
    assert load(TEXT.replace("42", "43")).answer() == 43
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_is_refused(cache, mode):
    cache.mkdir(parents=True)
    cache.chmod(mode)
    with pytest.raises(CannotBuild, match=r"can be written by others: run `chmod 700`"):
        load(TEXT)
    assert not list(cache.iterdir())


def test_a_kernel_that_others_can_write_is_refused(cache):
    load(TEXT)
    (kept,) = cache.iterdir()
    kept.chmod(0o777)
    load.cache_clear()
    with pytest.raises(CannotBuild, match="can be written by others: remove it"):
        load(TEXT)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no owners of this kind")
def test_a_folder_of_someone_else_is_refused(cache, monkeypatch):
    cache.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: cache.stat().st_uid + 1)
    with pytest.raises(CannotBuild, match="written by others"):
        load(TEXT)


def test_a_folder_that_cannot_be_made_is_a_reason(cache, tmp_path):
    (tmp_path / "surefoot").write_text("a file is in the way")
    with pytest.raises(CannotBuild, match="cannot be made"):
        load(TEXT)


def test_a_full_disk_is_a_reason(cache, monkeypatch):
    def full(*_args, **_settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_build.tempfile, "TemporaryDirectory", full)
    with pytest.raises(CannotBuild, match="No space left on device"):
        load(TEXT)


def test_no_compiler_is_a_reason_with_a_cure(cache, monkeypatch):
    monkeypatch.setattr(_build, "compiler", lambda: None)
    with pytest.raises(CannotBuild, match=r"install g\+\+ or clang\+\+, or set CXX"):
        load(TEXT)


def test_a_text_that_does_not_compile_is_a_reason(cache):
    with pytest.raises(CannotBuild, match="the compiler failed"):
        load("this is no C++")
    assert not list(cache.iterdir())


@pytest.mark.parametrize(
    "damage",
    [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b[:4096] + bytes(len(b) - 4096)],
    ids=["empty", "torn", "zeros"],
)
def test_a_damaged_kernel_is_built_again(cache, damage):
    _build._compile(_build.compiler(), TEXT, target := _target(cache), None)
    target.write_bytes(damage(target.read_bytes()))
    assert load(TEXT).answer() == 42


def _target(cache):
    """Return where the kernel of TEXT is kept, without having loaded it: a mapped file must not be damaged."""
    asked = []

    def note(_cxx, _source, target, _openmp):
        asked.append(target)
        raise CannotBuild("only asking")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_build, "_compile", note)
        with pytest.raises(CannotBuild, match="only asking"):
            load(TEXT)
    return asked[0]


def test_two_processes_build_the_same_kernel_at_once(cache):
    program = textwrap.dedent(f"""
        from surefoot.kernels import load
        print(load({TEXT!r}).answer())
    """)
    started = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in started] == ["42\n", "42\n"]
    assert len(list(cache.iterdir())) == 1


# ---- running -------------------------------------------------------------------------------------------------------------


def test_a_kernel_leaves_everything_outside_its_tasks_alone(cache):
    program = trace(rules.SGD())
    run = load(source(program, "double")).pass0
    x, g = (ctypes.c_double * 10)(*range(10)), (ctypes.c_double * 10)(*[1.0] * 10)
    arrays = (ctypes.c_void_p * 2)(ctypes.addressof(x), ctypes.addressof(g))
    scalars = (ctypes.c_double * 1)(-0.5)
    flat = (ctypes.c_int64 * 4)(0, 2, 3, 0)
    run(scalars, arrays, flat, ctypes.c_int64(1), 1, None, None)
    assert list(x) == [0.0, 1.0, 1.5, 2.5, 3.5, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert list(g) == [1.0] * 10
