import dataclasses

import pytest

from surefoot.report._snippets import schedule_code, snippets
from surefoot.schedules import cosine_decay, linear_warmup

RATE = 0.003125
OPTIMIZERS = (
    "sgd",
    "sgd_momentum",
    "sgd_nesterov",
    "adagrad",
    "adadelta",
    "rmsprop",
    "adam",
    "adamw",
    "adamax",
    "nadam",
)


@pytest.fixture
def codes(sample):
    def write(**changes):
        return {snippet.framework: snippet.code for snippet in snippets(dataclasses.replace(sample, **changes))}

    return write


@pytest.fixture
def plan():
    return (linear_warmup("5%") >> cosine_decay()).resolve(400)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "muon", None])
@pytest.mark.parametrize("framework", ["torch", "keras", "optax"])
def test_every_snippet_is_python(codes, framework, optimizer):
    code = codes(optimizer=optimizer)[framework]
    compile(code, framework, "exec")
    assert ("put your optimizer here" in code) == (optimizer not in OPTIMIZERS)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_torch_snippet_trains_at_the_found_rates(codes, plan, optimizer):
    torch = pytest.importorskip("torch")
    pytest.importorskip("surefoot.torch")
    model = torch.nn.Linear(2, 1)
    seen = []

    def loss_of(model, batch):
        seen.append(float(space["optimizer"].param_groups[0]["lr"]))
        return model(batch).square().mean()

    space = {"model": model, "batches": torch.ones(30, 4, 2), "loss_of": loss_of}
    exec(codes(optimizer=optimizer)["torch"], space)
    assert seen == pytest.approx([RATE * plan(step) for step in range(30)])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_optax_snippet_updates_at_the_found_rates(codes, plan, optimizer):
    optax = pytest.importorskip("optax")
    jnp = pytest.importorskip("jax.numpy")
    space = {}
    exec(codes(optimizer=optimizer)["optax"], space)
    weights, state = jnp.ones(3), None
    for step in range(3):
        state = space["optimizer"].init(weights) if state is None else state
        updates, state = space["optimizer"].update(jnp.ones(3), state, weights)
        weights = optax.apply_updates(weights, updates)
        if optimizer == "sgd":
            assert float(updates[0]) == pytest.approx(-RATE * plan(step), abs=1e-9)
    assert float(weights[0]) < 1


def test_the_keras_snippet_trains_at_the_found_rates(codes, plan):
    keras = pytest.importorskip("keras")
    numpy = pytest.importorskip("numpy")
    space = {"model": keras.Sequential([keras.layers.Dense(1)]), "loss": "mse"}
    exec(codes(optimizer="sgd_momentum")["keras"], space)
    space["model"].fit(numpy.ones((48, 2)), numpy.ones((48, 1)), batch_size=4, verbose=0)
    assert float(space["optimizer"].learning_rate) == pytest.approx(RATE * plan(12), rel=1e-5)


def test_the_keras_snippet_counts_updates_where_gradients_are_accumulated(codes, plan):
    keras = pytest.importorskip("keras")
    numpy = pytest.importorskip("numpy")
    space = {"model": keras.Sequential([keras.layers.Dense(1)]), "loss": "mse"}
    details = {"job": {"kind": "KerasJob", "gradient_accumulation_steps": 4}}
    code = codes(optimizer="sgd", details={**details, "schedule_repr": "linear_warmup('5%') >> cosine_decay()"})[
        "keras"
    ]
    exec(code.replace("FoundRate()", "FoundRate(), gradient_accumulation_steps=4"), space)
    space["model"].fit(numpy.ones((48, 2)), numpy.ones((48, 1)), batch_size=2, verbose=0)
    assert float(space["optimizer"].learning_rate) == pytest.approx(RATE * plan(6), rel=1e-5)
    text = codes(details={"job": {"gradient_accumulation_steps": "4); evil("}})["keras"]
    assert "evil" not in text


def test_the_framework_of_the_search_comes_first(sample):
    with_jax = dataclasses.replace(sample, details={**sample.details, "job": {"kind": "JaxJob"}})
    assert [snippet.framework for snippet in snippets(sample)] == ["torch", "keras", "optax"]
    assert snippets(with_jax)[0].framework == "optax"


def test_the_schedule_of_the_record_counts_more_than_what_is_told_of_it(codes):
    code = codes(schedule=cosine_decay(to=0.1).to_dict())["optax"]
    assert "(sf.cosine_decay(to=0.1)).resolve(400)" in code


def test_a_schedule_that_is_not_known_is_left_to_the_reader(codes, sample):
    assert "drive(optimizer, my_schedule, total_steps=400)" in codes(details={})["torch"]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "cosine_decay().__class__",
        "from_function('os:remove')",
        "from_dict({})",
        "open('x', 'w')",
        "(lambda: cosine_decay())()",
        "[cosine_decay() for _ in ()]",
        "f'{cosine_decay()}'",
        "cosine_decay(); 1",
        "cosine_decay(",
        "(" * 900,
        "-" * 900 + "1",
        "cosine_decay()\x00",
        "",
        None,
        3,
    ],
)
def test_nothing_but_schedules_gets_into_a_snippet(text):
    assert schedule_code(text) is None


def test_schedules_are_written_with_the_name_of_the_library():
    assert schedule_code("0.5 * linear_warmup(20, start=0.1) >> cosine_decay()") == (
        "0.5 * sf.linear_warmup(20, start=0.1) >> sf.cosine_decay()"
    )


def test_no_snippet_without_a_rate(odd_one):
    assert snippets(odd_one("nothing at all")) == ()
