import pytest

from surefoot.schedules import constant, cosine_decay, from_function, linear_warmup
from surefoot.schedules._fast import fast

from .examples import EXAMPLES


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_gives_the_very_bits_of_the_schedule(schedule):
    known = schedule.resolve(200, 20)
    function = fast(known)
    assert function is not known, "it was not written down"
    steps = [*range(450), 0.5, 1e9]
    assert [function(step) for step in steps] == [known(step) for step in steps]


def test_a_users_function_is_asked_about_numbers_only():
    seen = []
    schedule = linear_warmup(5) >> from_function(lambda step: seen.append(step) or 1.0, length=100) * 0.5
    function = fast(schedule)
    assert function(50) == 0.5
    assert all(isinstance(step, int | float) for step in seen)


def test_what_cannot_be_written_down_is_the_schedule_itself():
    class Odd(constant):
        def _at(self, ops, step):
            return 1.0 if step < 10 else 0.5  # `if` on a symbol

    schedule = Odd()
    assert fast(schedule) is schedule


def test_what_would_give_other_bits_is_not_used():
    class Odd(cosine_decay):
        def _at(self, ops, step):
            return 0.5 if ops.is_scalar else super()._at(ops, step)

    schedule = Odd(100)
    assert fast(schedule) is schedule
