"""Kernels: what a rule traces to, and a cache that is never wrong, shared by force, or trusted by mistake."""

import ctypes
import math
import os
import stat
import subprocess
import sys
import textwrap

import pytest

from surefoot import rules
from surefoot.kernels import CannotBuild, _build, load, number_fields, source, tasks, trace
from surefoot.rules import Rule

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
    assert program.arrays == ("x", "g")
    assert program.lines == (("a0", "*", ("k0", "g")), ("a1", "+", ("x", "a0")))
    assert program.outputs == (("x", "a1"),)
    assert program.scalars({"t": 1.0, "lr": 0.5, **number_fields(rules.SGD())}) == ([-0.5], {})


OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "neg": lambda a: -a,
    "sqrt": math.sqrt,
    "abs": abs,
    "sign": lambda a: float((a > 0) - (a < 0)),
    "maximum": max,
    "minimum": min,
    "where": lambda c, a, b: a if c else b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_program_computes_what_the_rule_does_on_numbers(rule: Rule):
    program = trace(rule)
    x, slots = 1.5, rule.init(1.5)
    y, memory = 1.5, dict(slots)
    for t in range(1, 12):
        g, lr = math.sin(t) + 0.1, 0.1 / t
        dx, slots = rule.step(x, g, float(t), lr, **slots)
        x += dx
        fields = number_fields(rule)
        k, new = program.scalars({"t": float(t), "lr": lr, **fields, **{n: memory[n] for n in rule.scalar_slots}})
        assert len(k) == program.width
        values = {"x": y, "g": g, **memory, **{f"k{i}": value for i, value in enumerate(k)}}
        for name, operation, operands in program.lines:
            values[name] = OPERATIONS[operation](*(values[o] for o in operands))
        memory = {**{name: values[value] for name, value in program.outputs[1:]}, **new}
        y = values[program.outputs[0][1]]
        assert y == pytest.approx(x, rel=1e-13)
        assert memory == pytest.approx(slots, rel=1e-13)


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
    run = load(source(program, "double")).run
    x, g = (ctypes.c_double * 10)(*range(10)), (ctypes.c_double * 10)(*[1.0] * 10)
    arrays = (ctypes.c_void_p * 2)(ctypes.addressof(x), ctypes.addressof(g))
    scalars = (ctypes.c_double * 1)(-0.5)
    flat = (ctypes.c_int64 * 4)(0, 2, 3, 0)
    run(scalars, arrays, flat, ctypes.c_int64(1), 1)
    assert list(x) == [0.0, 1.0, 1.5, 2.5, 3.5, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert list(g) == [1.0] * 10
