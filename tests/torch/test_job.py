import copy
import functools
import pickle
import random
import threading

import numpy as np
import pytest
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

import surefoot as sf
import torch
from surefoot.torch import TorchJob
from torch import nn

from .jobs import MODULE, X_VAL, Y_VAL, Augmented, Endless, X, Y, job, loader, loss, mlp, noisy


def losses(of, *, steps=5, rate=0.01, seed=0, factors=None):
    run = of.start(rate, seed=seed)
    return [*of.advance(run, factors or [1.0] * steps), of.evaluate(run)]


def future(of, run, steps=7):
    return [*of.advance(run, [0.5] * steps), of.evaluate(run)]


# ---- what a user may do wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"val": None}, "`TorchJob(val=None)`: val must be data"),
        ({"train": None}, "`TorchJob(train=None)`: train must be data"),
        ({"val": (X_VAL[:0], Y_VAL[:0])}, "val must be at least 1 sample. A rate"),
        ({"val": []}, "val must be at least 1 sample. A rate"),
        ({"train": (X[:0], Y[:0])}, "train must be at least 2 samples"),
        ({"train": (X[:1], Y[:1]), "batch_size": 1}, "train must be at least 2 samples"),
        ({"train": (X, Y[:-1])}, "train must be tensors of equal length"),
        ({"train": {"x": X, "y": Y}}, "train must be a tuple of tensors, a map-style Dataset or a DataLoader"),
        ({"train": "digits"}, "train must be a tuple of tensors"),
        ({"train": iter([1, 2])}, "train must be a tuple of tensors"),
        ({"train": loader(TensorDataset(X[:5], Y[:5]), drop_last=True)}, "a loader with at least one batch"),
        ({"train": loader(TensorDataset(X, Y), num_workers=1, persistent_workers=True)}, "Pass persistent_workers=False"),
        ({"batch_size": 53}, "at most the number of training samples, 52"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"total_steps": 1.5}, "total_steps must be a whole number"),
        ({"optimizer": "adan"}, "Did you mean 'adam'?"),
        ({"optimizer": torch.optim.SGD([nn.Parameter(X)], lr=0.1)}, "optimizer must be a name or a factory"),
        ({"optimizer": lambda params, lr: None}, "a factory that returns a torch.optim.Optimizer"),
        ({"optimizer": lambda params, lr: torch.optim.SGD(params, lr=0.1)}, "Pass its second argument on"),
        ({"optimizer": lambda params, lr: torch.optim.SGD([nn.Parameter(X)], lr=lr)}, "the parameters that the factory is given"),
        ({"optimizer": lambda params, lr: torch.optim.LBFGS(params, lr=lr)}, "whose step() needs no closure"),
        ({"optimizer": lambda params, lr: torch.optim.Adafactor(params, lr=lr), "weight_decay": 0.1}, "None with a factory"),
        ({"goal": "max"}, "'min' without a metric"),
        ({"schedule": lambda step: 1.0}, "schedule must be a surefoot schedule"),
        ({"model": lambda: None}, "a function that returns an nn.Module"),
        ({"model": "mlp"}, "model must be a function that returns a new nn.Module, or a module"),
        ({"model": nn.Tanh}, "at least one trainable parameter"),
        ({"model": lambda: nn.Sequential(nn.LazyLinear(2))}, "lazy layers know their sizes"),
        ({"loss": None}, "loss must be a function loss(model, batch)"),
        ({"metric": 3}, "metric must be a function metric(model, batch)"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_at_once(changes, words):
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError)) as caught:
        job(**changes)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda model, batch: functional.cross_entropy(model(batch[0]), batch[1], reduction="none"), "tensor of shape (8,)>)"),
        (lambda model, batch: loss(model, batch).item(), "leave out .item() and float()"),
        (lambda model, batch: loss(model, batch).detach(), "Leave out .detach(), .item(), no_grad"),
        (lambda model, batch: loss(MODULE.eval(), batch).detach(), "use the model that it is given"),
        (lambda model, batch: None, "Does it end with `return`?"),
        (lambda model, batch: {"loss": loss(model, batch)}, "return output.loss"),
    ],
)  # fmt: skip
def test_a_loss_that_cannot_be_trained_says_what_to_do(wrong, words):
    of = job(loss=wrong)
    with pytest.raises(sf.ArgumentTypeError) as caught:
        of.advance(of.start(0.1, seed=0), [1.0])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "of_batch", [lambda model, batch: model(batch[0]), lambda model, batch: None, lambda model, batch: np.ones(3)]
)
def test_a_metric_that_is_no_number_says_what_to_do(of_batch):
    of = job(metric=of_batch)
    with pytest.raises(sf.ArgumentTypeError, match="one number per batch"):
        of.evaluate(of.start(0.1, seed=0))


def test_a_metric_to_maximize_must_be_a_share():
    of = job(metric=lambda model, batch: 40.0, goal="max")
    with pytest.raises(sf.ArgumentError, match="Return a value that falls as the model improves"):
        of.evaluate(of.start(0.1, seed=0))
    share = job(metric=lambda model, batch: (model(batch[0]).argmax(1) == batch[1]).float().mean(), goal="max")
    assert 0.0 <= share.evaluate(share.start(0.1, seed=0)) <= 1.0


def test_a_factory_that_returns_the_same_module_twice_is_refused():
    kept = mlp()
    with pytest.raises(sf.ArgumentError, match="returns a new module at each call; it returned a parameter"):
        job(model=lambda: kept)
    with pytest.raises(sf.ArgumentError, match="Build the model inside the function"):
        job(model=functools.cache(mlp))


def test_a_factory_whose_modules_share_a_part_is_refused():
    backbone = nn.Linear(6, 8)
    with pytest.raises(sf.ArgumentError, match="a parameter that an earlier one has, too"):
        job(model=lambda: nn.Sequential(backbone, nn.Linear(8, 2)))
    weight = torch.randn(8, 6)

    def wrapped():
        model = mlp()
        model[0].weight = nn.Parameter(weight)  # another object, the same memory
        return model

    with pytest.raises(sf.ArgumentError, match="a parameter that an earlier one has, too"):
        job(model=wrapped)
    norm = nn.BatchNorm1d(6, affine=False)
    with pytest.raises(sf.ArgumentError, match="a running statistic that an earlier one has, too"):
        job(model=lambda: nn.Sequential(norm, nn.Linear(6, 2)))


def test_a_frozen_part_may_be_shared():
    backbone = nn.Linear(6, 8).requires_grad_(False)
    of = job(model=lambda: nn.Sequential(backbone, nn.Linear(8, 2)))
    before = backbone.weight.clone()
    losses(of)
    assert torch.equal(backbone.weight, before)


def test_a_factory_that_repeats_itself_late_is_refused():
    made = []

    def rotating():
        made.append(mlp() if len(made) < 3 else made[0])
        return made[-1]

    of = job(model=rotating)
    of.start(0.1, seed=0)
    with pytest.raises(sf.ArgumentError, match="a new module at each call"):
        of.start(0.1, seed=0)


def test_freed_modules_do_not_look_like_returned_ones():
    of = job()
    for _ in range(300):  # freed at once: the next one gets the same addresses
        of.start(0.1, seed=0)
    assert len(of._models._given) < 20


def test_a_factory_that_ignores_the_seed_is_said():
    own = np.random.default_rng(0)

    def unseeded():
        model = mlp()
        with torch.no_grad():
            model[0].weight.mul_(own.random())
        return model

    with pytest.warns(sf.SurefootWarning, match="different weights under the same seed"):
        job(model=unseeded)


def test_samples_that_make_no_batch_say_what_to_do():
    class Ragged(Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, i):
            return torch.zeros(i + 1), 0

    of = job(train=Ragged())
    with pytest.raises(sf.ArgumentTypeError, match="Give a DataLoader with a `collate_fn`"):
        of.advance(of.start(0.1, seed=0), [1.0])


def test_a_stream_that_can_be_read_once_says_so():
    class Once(Endless):
        def __init__(self):
            self.rest = iter([(X[i], Y[i]) for i in range(len(X))])

        def __iter__(self):
            return self.rest

    of = job(train=DataLoader(Once(), batch_size=8))
    with pytest.raises(sf.ArgumentError, match="a loader that can be read again; pass 2 over it gave nothing"):
        of.advance(of.start(0.1, seed=0), [1.0] * 8)


# ---- what must be left alone ----------------------------------------------------------------------------------------


def states():
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002


def test_find_leaves_the_users_randomness_and_model_alone():
    model = noisy()
    model[1].eval()
    before = copy.deepcopy(model.state_dict()), states(), [m.training for m in model.modules()]
    own = torch.Generator().manual_seed(5)
    own_before = own.get_state()
    of = job(model=model, train=loader(Augmented(), generator=own), total_steps=120)
    sf.find(of, budget=1.0, seed=0)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before[0].items())
    assert states() == before[1]
    assert [m.training for m in model.modules()] == before[2]
    assert torch.equal(own.get_state(), own_before)
    assert all(p.grad is None for p in model.parameters())


def test_an_error_in_the_users_loss_leaves_the_randomness_alone():
    def broken(model, batch):
        torch.rand(3)
        raise ZeroDivisionError

    of = job(loss=broken)
    run = of.start(0.1, seed=0)
    before = states()
    for call in (lambda: of.advance(run, [1.0]), lambda: of.evaluate(run)):
        with pytest.raises(ZeroDivisionError):
            call()
    assert states() == before


def test_running_statistics_move_in_training_only():
    of = job(model=noisy)
    run = of.start(0.01, seed=0)
    norm = run.model[1]
    of.evaluate(run)
    assert norm.num_batches_tracked == 0
    of.advance(run, [1.0] * 3)
    assert norm.num_batches_tracked == 3
    of.evaluate(run)
    assert norm.num_batches_tracked == 3


def test_evaluation_restores_the_mode_of_every_part():
    def partly_frozen():
        model = noisy()
        model[1].eval()
        return model

    of = job(model=partly_frozen)
    run = of.start(0.01, seed=0)
    of.advance(run, [1.0])
    of.evaluate(run)
    of.advance(run, [1.0])
    assert [m.training for m in run.model] == [True, False, True, True, True]
    assert run.model[1].num_batches_tracked == 0
    assert [m.training for m in of.fork(run).model] == [True, False, True, True, True]


def test_a_model_that_comes_in_evaluation_mode_is_trained_in_training_mode():
    of = job(model=lambda: noisy().eval())  # as transformers' from_pretrained returns it
    run = of.start(0.01, seed=0)
    of.advance(run, [1.0])
    assert run.model[1].num_batches_tracked == 1


def test_training_works_inside_no_grad():
    with torch.no_grad():
        assert len(losses(job())) == 6


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_trains_as_a_plain_loop_does():
    of = job(optimizer="sgd_momentum")
    run = of.start(0.1, seed=3)
    model = copy.deepcopy(run.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    stream = of._train.stream(3, 0)
    want = []
    for factor in (1.0, 0.5, 0.25, 0.0):
        optimizer.param_groups[0]["lr"] = 0.1 * factor
        value = loss(model, next(stream))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        want.append(value.item())
    assert of.advance(run, [1.0, 0.5, 0.25, 0.0]) == want
    model.eval()
    mean = loss(model, (X_VAL, Y_VAL)).item()
    assert of.evaluate(run) == pytest.approx(mean, rel=1e-6)


def test_every_sample_of_the_validation_data_counts_the_same():
    one = job(val_batch_size=100)
    many = job(val=DataLoader(TensorDataset(X_VAL, Y_VAL), batch_size=4))  # 21 samples: the last batch has one
    of_one, of_many = (of.evaluate(of.start(0.1, seed=0)) for of in (one, many))
    assert of_many == pytest.approx(of_one, rel=1e-6)
    single = job(val=(X_VAL[:1], Y_VAL[:1]))
    assert single.evaluate(single.start(0.1, seed=0)) > 0


def test_each_parameter_group_keeps_its_ratio():
    def grouped(params, lr):
        params = list(params)
        return torch.optim.SGD([{"params": params[:2], "lr": lr / 10}, {"params": params[2:]}], lr=lr)

    of = job(optimizer=grouped)
    run = of.start(0.5, seed=0)
    of.advance(run, [1.0, 0.5])
    assert [g["lr"] for g in run.optimizer.param_groups] == [0.025, 0.25]


def test_a_tensor_rate_is_filled_in_place_and_not_shared_with_a_fork():
    of = job(optimizer=lambda params, lr: torch.optim.Adam(params, lr=torch.tensor(lr)))
    run = of.start(0.5, seed=0)
    rate = run.optimizer.param_groups[0]["lr"]
    of.advance(run, [0.5])
    assert run.optimizer.param_groups[0]["lr"] is rate
    fork = of.fork(run)
    of.advance(fork, [0.125])
    assert rate.item() == 0.25


def test_frozen_parameters_stay_and_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.into, self.out = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
            self.out.weight = self.into.weight
            self.head = nn.Linear(6, 2)
            self.head.requires_grad_(False)

        def forward(self, x):
            return self.head(self.out(torch.tanh(self.into(x))))

    of = job(model=Tied)
    run = of.start(0.1, seed=0)
    head = run.model.head.weight.clone()
    fork = of.fork(run)
    for one in (run, fork):
        of.advance(one, [1.0] * 3)
        assert one.model.out.weight is one.model.into.weight
        assert torch.equal(one.model.head.weight, head)
        assert len(one.optimizer.param_groups[0]["params"]) == 1
    assert of.evaluate(run) == of.evaluate(fork)


def test_epochs_are_known_where_they_can_be():
    assert job(total_steps=60).epochs == 10.0
    assert job(train=loader(TensorDataset(X, Y)), total_steps=70).epochs == 10.0
    endless = job(train=DataLoader(Endless(), batch_size=8))
    assert (endless.epochs, endless.steps_per_epoch) == (None, None)


def test_a_stream_says_of_other_data_that_it_is_other_data():
    descriptions = [job().describe(), job(train=(X + 1, Y)).describe(), job(val=(X_VAL + 1, Y_VAL)).describe()]
    assert descriptions[0] == job().describe()
    assert descriptions[0] != descriptions[1]
    assert descriptions[0] != descriptions[2]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # of Python 3.12, about any fork
def test_worker_processes_change_nothing():
    """Two runs read the same loader in turn, each its own pass."""
    of = job(train=loader(TensorDataset(X, Y), num_workers=1))
    alone = job(train=loader(TensorDataset(X, Y)))
    runs = [of.start(0.01, seed=0), of.start(0.01, seed=1)]
    got = [[], []]
    for _ in range(2):
        for run, values in zip(runs, got, strict=True):
            values.extend(of.advance(run, [1.0] * 2))
    lone = [alone.advance(alone.start(0.01, seed=s), [1.0] * 4) for s in (0, 1)]
    assert got == lone


# ---- copies and files -----------------------------------------------------------------------------------------------


class Locked(nn.Module):
    """Can neither be copied nor pickled."""

    def __init__(self):
        super().__init__()
        self.body = noisy()
        self.lock = threading.Lock()
        self.act = lambda x: x * 1.0
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training:
            self.calls += 1
        self.seen = self.body(self.act(x)) * (1 + 0.01 * self.calls)  # a kept activation: deepcopy refuses it
        return self.seen


def test_a_model_that_cannot_be_copied_or_pickled_is_forked_and_saved(tmp_path):
    with pytest.raises(TypeError):
        copy.deepcopy(Locked())
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(Locked())
    of = job(model=Locked)
    run = of.start(0.01, seed=0)
    of.advance(run, [1.0] * 3)
    of.save(run, tmp_path / "run.state")
    fork, loaded = of.fork(run), of.load(tmp_path / "run.state")
    want = future(of, run)
    assert future(of, fork) == want
    assert future(of, loaded) == want


def test_a_module_that_keeps_activations_is_forked():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()

        def forward(self, x):
            self.seen = self.body(x)
            return self.seen

    of = job(model=Keeps())
    run = of.start(0.01, seed=0)
    of.advance(run, [1.0] * 3)
    fork = of.fork(run)
    assert future(of, fork) == future(of, run)


def test_a_module_that_cannot_be_copied_is_refused_with_the_cure():
    with pytest.raises(sf.ArgumentTypeError, match="Pass a function that builds it instead"):
        job(model=Locked())


class Selfish(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()

    def forward(self, x):
        return self.body(x)

    def __deepcopy__(self, memo):
        return self


def test_a_module_whose_copy_is_itself_is_not_trained():
    with pytest.raises(sf.ArgumentError, match="a parameter that an earlier one has"):
        job(model=Selfish())
    of = job(model=Selfish)  # a function that builds it is fine: forks are built, too
    run = of.start(0.01, seed=0)
    of.advance(run, [1.0])
    fork = of.fork(run)
    assert fork.model is not run.model
    assert future(of, fork) == future(of, run)


def test_a_model_that_cannot_be_forked_at_all_says_why():
    class Forgetful(Locked):
        def state_dict(self, *args, **kwargs):
            return {}

        def load_state_dict(self, state, *args, **kwargs):
            pass

        def named_buffers(self, *args, **kwargs):
            return iter(())

    of = job(model=Forgetful)
    run = of.start(0.01, seed=0)
    of.advance(run, [1.0])
    with pytest.raises(sf.JobError, match=r"cannot be copied in the middle: deepcopy says: .*is not in its state_dict"):
        of.fork(run)


@pytest.mark.parametrize("done", [1, 6, 9])
def test_a_run_that_another_process_loads_has_the_same_future(tmp_path, done):
    def make():
        return job(model=noisy, train=loader(Augmented()), optimizer="adamw")

    of = make()
    run = of.start(0.01, seed=4)
    of.advance(run, [1.0] * done)
    of.save(run, tmp_path / "run.state")
    fork = of.fork(run)
    torch.rand(7), random.random(), np.random.rand()  # noqa: NPY002
    loaded = make().load(tmp_path / "run.state")
    want = future(of, run, 11)
    assert future(make(), loaded, 11) == want
    assert future(of, fork, 11) == want


def test_goes_with_find_on_a_stream():
    of = job(train=DataLoader(Endless(), batch_size=8), total_steps=120)
    found = sf.find(of, budget=1.0, seed=0)
    assert found.cost <= 1.1
    assert isinstance(of, TorchJob)
