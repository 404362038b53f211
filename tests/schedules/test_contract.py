import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass

import jax
import numpy as np
import pytest

import surefoot.schedules
import torch
from surefoot.schedules import (
    Schedule,
    constant,
    cosine_decay,
    from_dict,
    from_function,
    inverse_sqrt_decay,
    linear_decay,
    linear_warmup,
    warmup_stable_decay,
)
from surefoot.testing import check_schedule

from .examples import EXAMPLES


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_keeps_the_contract(schedule):
    assert {"numpy", "torch", "jax"} <= set(sys.modules)  # so that the suite checks all of them
    check_schedule(schedule)


NO_SCHEDULES = {"Finding", "Schedule", "check", "from_dict", "parse_duration", "step_at_time"}


def test_every_public_schedule_is_in_the_contract_table():
    made = {type(schedule).__name__ for schedule in EXAMPLES}
    assert {name for name in surefoot.schedules.__all__ if name not in NO_SCHEDULES} <= made


def test_all_names_are_exported():
    public = {name for name in vars(surefoot.schedules) if not name.startswith("_") and name != "annotations"}
    assert public == set(surefoot.schedules.__all__)


def test_import_loads_neither_numpy_nor_a_framework():
    script = (
        "import sys, surefoot.schedules, surefoot.learning_rate\n"
        "print({'numpy', 'torch', 'jax', 'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@dataclass(frozen=True, slots=True, repr=False)
class Climbs(Schedule):
    """A schedule that breaks the contract."""

    length: float | None = None

    def _at(self, ops, step):
        return step / self.length


def test_the_contract_suite_catches_a_schedule_that_climbs_after_its_end():
    with pytest.raises(AssertionError, match="moves after its end"):
        check_schedule(Climbs())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_float_arrays_keep_their_dtype(kind):
    schedule = (linear_warmup(10) >> cosine_decay()).resolve(100)
    assert schedule(np.arange(50, dtype=kind)).dtype == kind


def test_unsigned_and_small_integers_do_not_wrap_around():
    schedule = (linear_warmup(200) >> linear_decay()).resolve(1000)
    want = [schedule(step) for step in (0, 100, 127)]
    assert schedule(np.array([0, 100, 127], dtype=np.uint8)).tolist() == want
    assert schedule(torch.tensor([0, 100, 127], dtype=torch.int8)).tolist() == pytest.approx(want)
    assert schedule(jax.numpy.array([0, 100, 127], dtype="uint8")).tolist() == pytest.approx(want)


def test_numpy_and_torch_scalars_give_scalars():
    schedule = (linear_warmup(10) >> cosine_decay()).resolve(100)
    assert isinstance(schedule(np.float64(5)), float)
    assert schedule(np.int64(5)) == pytest.approx(0.5)
    assert schedule(torch.tensor(5)).shape == ()


def test_numpy_number_times_schedule_is_a_schedule():
    assert np.float64(0.5) * linear_decay() == 0.5 * linear_decay()


def test_subclasses_of_numbers_and_tensors_are_known():
    schedule = linear_decay(10)
    assert schedule(True) == 0.9
    assert schedule(torch.nn.Parameter(torch.tensor(5.0))).item() == 0.5


def test_torch_compile_traces_a_schedule_as_one_graph():
    schedule = (linear_warmup("5%") >> cosine_decay()).resolve(100)
    steps = torch.arange(120)
    compiled = torch.compile(lambda x: 2 * schedule(x), fullgraph=True, backend="eager")
    assert torch.equal(compiled(steps), 2 * schedule(steps))


@pytest.mark.parametrize("step", [[1, 2], "3", None, 1j])
def test_other_types_of_steps_are_refused(step):
    with pytest.raises(TypeError, match="must be a number, or an array"):
        linear_decay(10)(step)


@pytest.mark.parametrize("step", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_no_number_makes_a_schedule_raise(schedule, step):
    schedule.resolve(200, 20)(step)


def test_schedules_are_immutable():
    with pytest.raises(FrozenInstanceError):
        linear_decay(10).to = 0.5


def test_equality_is_by_value_and_by_kind():
    assert linear_decay("5 %") == linear_decay("5%") == linear_decay(length=" 5% ")
    assert linear_decay(10.0) == linear_decay(10)
    assert linear_decay() != linear_decay(to=0.1)
    assert linear_decay() != cosine_decay()
    assert len({linear_decay(), linear_decay(), cosine_decay()}) == 2


def test_reprs_say_only_what_was_said():
    assert repr(linear_warmup("5%") >> cosine_decay(to=0.1)) == "linear_warmup('5%') >> cosine_decay(to=0.1)"
    assert repr(warmup_stable_decay("2%", to=0.1)) == "warmup_stable_decay('2%', to=0.1)"
    assert repr(linear_warmup("1.0 epoch")) == "linear_warmup('1.0 epoch')"


def test_functions_without_an_importable_name_are_refused_by_json():
    for function in (lambda step: 1.0, from_function(abs).to_dict):
        with pytest.raises(ValueError, match="is not found again by an import"):
            from_function(function).to_dict()


def test_functions_from_json_need_trust():
    plain = from_function(abs).to_dict()
    with pytest.raises(ValueError, match="allow_functions=True"):
        from_dict(plain)
    with pytest.raises(ValueError, match="allow_functions=True"):
        from_dict((linear_warmup(5) >> from_function(abs)).to_dict())
    assert from_dict(plain, allow_functions=True) == from_function(abs)


def test_an_error_inside_a_function_is_not_taken_for_an_unresolved_length():
    with pytest.raises(TypeError, match="NoneType"):
        from_function(lambda step: None + step)(3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "a dict, as returned by `to_dict`"),
        ({"kind": "cosine_decay"}, "version must be 1"),
        ({"version": 1}, "the name of a schedule"),
        ({"version": 1, "kind": "cosin_decay"}, "Did you mean 'cosine_decay'"),
        ({"version": 1, "kind": "cosine_decay", "too": 0.1}, "Did you mean 'to'"),
        ({"version": 1, "kind": "cosine_decay", "to": 7}, "at most 1"),
        ({"version": 1, "kind": "linear_warmup"}, "a complete linear_warmup"),
        ({"version": 1, "kind": "join", "pieces": []}, "at least one schedule"),
        ({"version": 1, "kind": "join", "pieces": [3]}, "must be schedules"),
        ({"version": 1, "kind": "from_function", "function": "no.such:name"}, "that can be imported"),
        ({"version": 1, "kind": "from_function", "function": 3}, "that can be imported"),
    ],
)
def test_bad_json_is_refused(data, message):
    with pytest.raises((ValueError, TypeError), match=message):
        from_dict(data, allow_functions=True)


def test_simulate_gives_the_factor_of_every_update():
    assert linear_decay().simulate(4) == [1.0, 0.75, 0.5, 0.25]
    assert linear_decay("1 epoch").simulate(4, steps_per_epoch=2) == [1.0, 0.5, 0.0, 0.0]


def test_join_has_the_value_of_the_right_piece_at_the_join():
    schedule = (constant(10, factor=0.2) >> linear_warmup(10, start=0.5)).resolve(100)
    assert (schedule(9), schedule(10), schedule(10.0 - 1e-9)) == (0.2, 0.5, 0.2)


def test_a_piece_of_length_zero_is_skipped():
    assert (linear_warmup(0) >> linear_decay(4)).simulate(4) == linear_decay(4).simulate(4)


def test_joins_are_associative():
    a, b, c = linear_warmup(3), constant("10%"), linear_decay()
    assert (a >> b) >> c == a >> (b >> c)


def test_scales_and_products_are_pointwise():
    curve = cosine_decay().simulate(50)
    assert (0.5 * cosine_decay()).simulate(50) == [0.5 * factor for factor in curve]
    assert 2 * (3 * cosine_decay()) == cosine_decay() * 6.0
    squares = (cosine_decay() * cosine_decay()).simulate(50)
    assert squares == [factor * factor for factor in curve]


def test_warmup_stable_decay_is_the_join_of_its_phases():
    joined = linear_warmup("10%", start=0.1) >> constant() >> linear_decay("20%", to=0.05)
    whole = warmup_stable_decay("10%", "20%", start=0.1, to=0.05, shape="linear")
    assert whole.simulate(137) == pytest.approx(joined.simulate(137), abs=1e-15)


def test_inverse_sqrt_after_a_warmup_is_the_schedule_of_the_transformer():
    schedule = (linear_warmup(40) >> inverse_sqrt_decay()).resolve(1000)
    assert [schedule(step) for step in range(1000)] == pytest.approx(
        [min(step / 40, (40 / step) ** 0.5) if step else 0.0 for step in range(1000)]
    )
    assert inverse_sqrt_decay().resolve(100).timescale == 10_000


@pytest.mark.parametrize("other", ["x", None, [1]])
def test_other_operands_are_a_type_error(other):
    with pytest.raises(TypeError):
        linear_decay() >> other
    with pytest.raises(TypeError):
        linear_decay() * other
