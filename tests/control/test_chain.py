"""Chain: who sees a reading, who has decided, and what of the state is believed."""

import copy
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot import ArgumentError, ArgumentTypeError, LearningRate, StateError
from surefoot.control import (
    Chain,
    Controller,
    Decision,
    DivergenceGuard,
    Greedy,
    Manual,
    Plateau,
    Reading,
    TrendPlateau,
    flat,
)
from surefoot.schedules import constant, linear_decay

from .arguments import ODD, made_or_refused


class Says(Controller):
    """Decides the same at each reading, and remembers what it saw."""

    def __init__(self, action="continue", by=0.5):
        self.action, self.by, self.readings = action, by, []

    def observe(self, reading):
        self.readings.append(reading)
        if self.action is None:
            return None
        self.factor *= self.by
        return Decision("so it is", self.action)


# Who sees a reading


@pytest.mark.parametrize("action", ["skip", "restore_best", "rewind", "stop"])
def test_a_reading_ends_at_the_first_who_asks_for_more_than_a_rate(action):
    behind = Says()
    decision = Chain(Says(), Says(action), behind).observe(Reading(0, {"loss": 1.0}))
    assert decision.action == action
    assert behind.readings == []


@pytest.mark.parametrize("action", [None, "continue"])
def test_a_reading_passes_whoever_asks_for_no_more(action):
    behind = Says()
    Chain(Says(action), behind).observe(Reading(0, {"loss": 1.0}))
    assert len(behind.readings) == 1


def test_a_guard_in_front_shields_a_plateau_from_spikes():
    losses = [1.0 + 0.01 * (i % 3) for i in range(30)] + [math.nan, 50.0] * 5
    alone, shielded = Plateau("loss", patience=35), Plateau("loss", patience=35)
    chain = Chain(DivergenceGuard(action="skip", attempts=100), shielded)
    for step, loss in enumerate(losses):
        alone.observe(Reading(step, {"loss": loss}))
        chain.observe(Reading(step, {"loss": loss}))
    assert (alone.factor, shielded.factor, shielded.wait) == (0.1, 1.0, 29)


def test_each_member_sees_the_rate_that_those_before_it_have_made():
    last = Says(None)
    chain = Chain(Says(), Chain(Says(by=0.25)), Manual(), last)
    for _ in range(2):
        chain.observe(Reading(0, {}, learning_rate=8.0))
    assert [r.learning_rate for r in last.readings] == [1.0, 1.0]


def test_a_floor_holds_behind_another_that_lowers_the_rate():
    learning_rate = LearningRate(1.0, constant(), controllers=[Chain(Says(), Plateau(patience=1, min_lr=0.4))])
    learning_rate.observe(0, {"loss": 1.0})
    learning_rate.observe(1, {"loss": 1.0})
    assert learning_rate.at(1) == 0.25  # of the first; the plateau has not lowered it further
    assert "at its floor" in learning_rate.changes[-1].cause


def test_a_member_that_has_set_the_rate_to_zero_leaves_it_there():
    manual, last = Manual(), Says(None)
    manual.set(0.0)
    chain = Chain(manual, last)
    chain.observe(Reading(0, {}, learning_rate=1.0))
    chain.observe(Reading(1, {}, learning_rate=0.0))
    assert [r.learning_rate for r in last.readings] == [0.0, 0.0]
    assert chain.factor == 0.0


# Who has decided


def test_the_factor_is_the_product_and_the_log_names_the_members():
    chain = Chain(DivergenceGuard(action="cut"), Chain(Plateau(patience=1, factor=0.25)))
    learning_rate = LearningRate(1.0, linear_decay(8), controllers=[chain, Manual(0.5)])
    for step, loss in enumerate([1.0, 1.0, math.nan]):
        learning_rate.observe(step, {"loss": loss})
    assert chain.factor == 0.5 * 0.25 * 0.25
    assert [(c.controller, c.cause) for c in learning_rate.changes] == [
        ("Plateau", "loss has not improved on 1 for 1 reading"),
        ("DivergenceGuard, Plateau", "loss is nan; loss has not improved on 1 for 1 reading"),
    ]
    first, *rest = learning_rate.why(2).splitlines()
    assert first.endswith("schedule 0.75, DivergenceGuard 0.5, Plateau 0.0625, Manual 0.5")
    assert str(learning_rate.changes[-1]) == rest[-1]
    assert rest[-1].startswith("step 2: 0.09375 -> 0.0117188: loss is nan; ")


def test_a_change_by_hand_of_a_member_counts():
    manual = Manual()
    chain = Chain(Plateau(), manual)
    manual.set(0.5)
    assert chain.factor == 1.0
    assert chain.observe(Reading(0)) == Decision("by hand", by="Manual")
    assert chain.factor == 0.5


def test_flat_looks_inside_of_chains_in_order():
    a, b, c, d = Plateau(), Manual(), Greedy(), TrendPlateau()
    assert list(flat([a, Chain(b, Chain(c)), d])) == [a, b, c, d]
    assert list(flat([])) == []


# State


def chain_of_all():
    return Chain(DivergenceGuard(warmup=5), Chain(Greedy(patience=2, window=3), Manual()), TrendPlateau(window=3))


def used(chain):
    for step in range(20):
        chain.observe(Reading(step, {"loss": 1.0 / (1 + step % 7)}, learning_rate=0.1))
    return chain


def test_the_state_nests_those_of_the_members_and_comes_back_through_json():
    chain, again = used(chain_of_all()), chain_of_all()
    state = json.loads(json.dumps(chain.state_dict()))
    assert [member["kind"] for member in state["members"]] == ["DivergenceGuard", "Chain", "TrendPlateau"]
    assert [member["kind"] for member in state["members"][1]["members"]] == ["Greedy", "Manual"]
    again.load_state_dict(state)
    assert again.state_dict() == chain.state_dict()
    assert again.factor == chain.factor != 1.0


def broken(state, change):
    state = copy.deepcopy(state)
    change(state)
    return state


WRONG = {
    "nothing": lambda s: s.clear(),
    "surprise": lambda s: s.update(surprise=1),
    "factor": lambda s: s.update(factor=1.0),
    "no list": lambda s: s.update(members=None),
    "text": lambda s: s.update(members="DivergenceGuard"),
    "mapping": lambda s: s.update(members={"kind": "DivergenceGuard"}),
    "no mapping": lambda s: s["members"].__setitem__(2, 3),
    "no member": lambda s: s["members"].__setitem__(2, None),
    "one less": lambda s: s["members"].pop(),
    "one more": lambda s: s["members"].append(s["members"][2]),
    "another order": lambda s: s["members"].reverse(),
    "another kind": lambda s: s["members"][2].update(kind="Plateau"),
    "no kind": lambda s: s["members"][2].pop("kind"),
    "kind is a list": lambda s: s["members"][2].update(kind=["TrendPlateau"]),
    "lacks a name": lambda s: s["members"][2].pop("wait"),
    "bad factor of the last": lambda s: s["members"][2].update(factor=math.nan),
    "bad factor within": lambda s: s["members"][1]["members"][1].update(factor=-1.0),
    "damaged within": lambda s: s["members"][1]["members"][0].update(recent="none"),
    "nested lacks members": lambda s: s["members"][1].pop("members"),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_damaged_state_or_that_of_another_chain_is_refused_and_changes_nothing(change):
    chain = chain_of_all()
    before = chain.state_dict()
    with pytest.raises(StateError):
        chain.load_state_dict(broken(used(chain_of_all()).state_dict(), change))
    assert chain.state_dict() == before


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_learning_rate_refuses_it_too_and_changes_nothing(change):
    plateau = Plateau()
    learning_rate = LearningRate(1.0, constant(), controllers=[plateau, chain_of_all()])
    other = LearningRate(1.0, constant(), controllers=[Plateau(), used(chain_of_all())])
    other.observe(0, {"loss": 1.0})
    before, state = learning_rate.state_dict(), other.state_dict()
    with pytest.raises(StateError):
        learning_rate.load_state_dict(broken(state, lambda s: change(s["controllers"][1])))
    assert learning_rate.state_dict() == before
    learning_rate.load_state_dict(state)
    assert learning_rate.state_dict() == state


def test_a_chain_that_has_other_members_now_is_said():
    state = Chain(Plateau(), Manual()).state_dict()
    with pytest.raises(
        StateError, match=r"has the controllers \['Plateau', 'Manual'\], this has \['Manual', 'Plateau'\]"
    ):
        Chain(Manual(), Plateau()).load_state_dict(state)


# Arguments


def test_a_controller_that_is_given_twice_is_found_in_chains():
    plateau = Plateau()
    for twice in (
        lambda: Chain(plateau, plateau),
        lambda: Chain(plateau, Chain(Manual(), plateau)),
        lambda: LearningRate(1.0, constant(), controllers=[plateau, Chain(plateau)]),
        lambda: LearningRate(1.0, constant(), controllers=[Chain(plateau), Chain(Chain(plateau))]),
    ):
        with pytest.raises(ArgumentError, match="controllers must be a list without repetitions"):
            twice()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ((), ArgumentError),
        ((None,), ArgumentTypeError),
        ((Plateau,), ArgumentTypeError),
        (([Plateau()],), ArgumentTypeError),
        ((Plateau(), "Manual"), ArgumentTypeError),
    ],
    ids=repr,
)
def test_a_wrong_value_is_refused_by_name(given, error):
    with pytest.raises(error, match=r"`Chain\(controllers=.*\)`: controllers must be "):
        Chain(*given)


SHARED = Plateau("loss")
MEMBERS = st.builds(
    lambda make: make(),
    st.sampled_from(
        [
            Plateau,
            Greedy,
            TrendPlateau,
            DivergenceGuard,
            Manual,
            lambda: SHARED,
            lambda: Chain(Manual()),
            lambda: Chain(SHARED),
        ]
    ),
)


@given(st.lists(st.one_of(MEMBERS, MEMBERS, MEMBERS, st.sampled_from(ODD)), max_size=4))
def test_any_arguments_work_or_are_refused_by_name(members):
    SHARED.load_state_dict(Plateau().state_dict())
    ids = [id(m) for m in flat(members)]
    is_wrong = not members or len(set(ids)) < len(ids) or not all(isinstance(m, Controller) for m in members)
    chain = made_or_refused(lambda: Chain(*members))
    assert isinstance(chain, str) == is_wrong
    if isinstance(chain, str):
        assert re.match(r"`Chain\(controllers=.*\)`: controllers must be ", chain, re.DOTALL)
        return
    assert chain.members == tuple(members)
    for step, loss in enumerate([1.0, math.nan, 0.5, math.inf, 0.5]):
        decision = chain.observe(Reading(step, {"loss": loss}, chain.factor))
        assert decision is None or decision.by
        assert 0.0 <= chain.factor < math.inf
