"""transformers' Trainer as a job: the contract of jobs, its own training as the oracle, and what is refused."""

import math

import pytest

import surefoot as sf
import torch
from surefoot.testing import check_job

transformers = pytest.importorskip(
    "transformers", reason='transformers is not installed: pip install "surefoot[transformers]"'
)
pytest.importorskip("accelerate", reason='accelerate is not installed: pip install "surefoot[transformers]"')

from surefoot.integrations.transformers import TrainerJob  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
X = torch.randn(52, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1).sin()[:, None]


class Config(transformers.PretrainedConfig):
    model_type = "surefoot-test"


class Net(transformers.PreTrainedModel):
    config_class = Config

    def __init__(self, config=None):
        super().__init__(config or Config())
        self.body = torch.nn.Linear(4, 8)
        self.norm = torch.nn.LayerNorm(8)
        self.drop = torch.nn.Dropout(0.1)
        self.head = torch.nn.Linear(8, 1)

    def forward(self, x, labels=None):
        out = self.head(self.drop(self.norm(self.body(x)).tanh()))
        if labels is None:
            return {"logits": out}
        return {"loss": torch.nn.functional.mse_loss(out, labels), "logits": out}


class Rows(torch.utils.data.Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        return {"x": X[i], "labels": Y[i]}


class InOrder(transformers.Trainer):
    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def trainer(tmp_path, kind=transformers.Trainer, *, model=None, given=None, **arguments):
    settings = {
        "output_dir": str(tmp_path), "use_cpu": True, "report_to": [], "per_device_train_batch_size": 8,
        "num_train_epochs": 6, "learning_rate": 0.003, "weight_decay": 0.1, "save_strategy": "no", **arguments,
    }  # fmt: skip
    more = {"model_init": Net} if model is None else {"model": model}
    more |= {"train_dataset": Rows(52), "eval_dataset": Rows(21)} | (given or {})
    return kind(args=transformers.TrainingArguments(**settings), **more)


def test_keeps_the_contract(tmp_path):
    own = trainer(tmp_path)  # whose constructor seeds the global generators
    check_job(lambda: TrainerJob(own), steps=11)


def test_a_given_model_is_copied_and_left_as_it_was(tmp_path):
    torch.manual_seed(5)
    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = trainer(tmp_path, model=model)
    check_job(lambda: TrainerJob(own), steps=9)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_trainer_is_left_as_it_was_and_trains_afterwards(tmp_path):
    own = trainer(tmp_path, max_steps=3)
    model = own.model
    job = TrainerJob(own)
    job.advance(job.start(0.1, seed=0), [1.0] * 3)
    assert own.model is model
    assert own.optimizer is None
    assert "prepare" not in vars(own.accelerator)
    assert own.train().global_step == 3


@pytest.mark.parametrize("scheduler", ["linear", "cosine", "constant", "constant_with_warmup"])
def test_it_trains_as_the_trainer_does(tmp_path, scheduler):
    """The Trainer's own loop, its own schedule, the same order: the same weights at the end."""
    torch.manual_seed(5)
    model = Net()
    model.drop.p = 0.0
    own = trainer(tmp_path, InOrder, model=model, lr_scheduler_type=scheduler, warmup_steps=4, max_grad_norm=0.5)
    job = TrainerJob(own)
    assert job.total_steps == 6 * 7
    assert job.default_learning_rate == 0.003
    run = job.start(0.003, seed=0)
    job.advance(run, job.schedule.resolve(job.total_steps).simulate(job.total_steps))
    own.train()
    for name, value in own.model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert job.evaluate(run) == pytest.approx(own.evaluate()["eval_loss"], rel=1e-5)


def test_weight_decay_and_groups_are_the_trainers(tmp_path):
    job = TrainerJob(trainer(tmp_path))
    run = job.start(0.1, seed=0)
    assert [g["weight_decay"] for g in run.optimizer.param_groups] == [0.1, 0.0]
    assert {g["lr"] for g in run.optimizer.param_groups} == {0.1}
    assert job.optimizer_name == "adamw"


def test_a_search_finds_a_rate_and_resumes(tmp_path):
    def search():
        return sf.find(TrainerJob(trainer(tmp_path / "out", max_steps=240)), run_dir=tmp_path / "run")

    found, again = search(), search()
    assert again == found
    assert 1e-4 < found.learning_rate < 1.0
    assert again.train().val_loss == found.train().val_loss


def test_methods_are_compared(tmp_path):
    compared = sf.find(TrainerJob(trainer(tmp_path, max_steps=240)), methods=["adamw", "prodigy"])
    assert {r.method for r in compared.table} == {"adamw", "prodigy"}


def test_label_smoothing_and_a_loss_of_ones_own_are_heard(tmp_path):
    def own_loss(outputs, labels, num_items_in_batch=None):
        return (outputs["logits"] - labels).abs().mean()

    job = TrainerJob(trainer(tmp_path, given={"compute_loss_func": own_loss}))
    run = job.start(0.01, seed=0)
    with torch.no_grad():
        mean = (run.model.eval()(X[:21], Y[:21])["logits"] - Y[:21]).abs().mean()
    assert job.evaluate(run) == pytest.approx(float(mean), rel=1e-5)
    assert all(map(math.isfinite, job.advance(run, [1.0] * 9)))


def test_bfloat16_is_trained_under_autocast(tmp_path):
    job = TrainerJob(trainer(tmp_path, bf16=True))
    run = job.start(0.01, seed=0)
    losses = job.advance(run, [1.0] * 5)
    assert losses != TrainerJob(trainer(tmp_path)).advance(TrainerJob(trainer(tmp_path)).start(0.01, seed=0), [1.0] * 5)
    assert all(p.dtype == torch.float32 for p in run.model.parameters())


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        ({"gradient_accumulation_steps": 2}, {}, "gradient_accumulation_steps must be 1"),
        ({"lr_scheduler_type": "polynomial"}, {}, "lr_scheduler_type must be one of linear, cosine"),
        ({"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 2}}, {}, "lr_scheduler_kwargs must be"),
        ({"learning_rate": 0.0}, {}, "one with a rate above 0"),
        ({}, {"train_dataset": None}, "train_dataset must be given"),
        ({}, {"eval_dataset": None}, "eval_dataset must be given"),
        ({}, {"eval_dataset": {"a": Rows(9), "b": Rows(9)}}, "eval_dataset must be one data set"),
    ],
)
def test_what_cannot_be_searched_is_refused_when_the_job_is_made(tmp_path, arguments, given, words):
    own = trainer(tmp_path, given=given, **arguments)
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError), match=words):
        TrainerJob(own)


def test_another_schedule_may_be_given(tmp_path):
    own = trainer(tmp_path, lr_scheduler_type="polynomial")
    assert repr(TrainerJob(own, schedule=sf.linear_decay()).schedule) == repr(sf.linear_decay())


def test_an_optimizer_of_the_users_is_refused(tmp_path):
    model = Net()
    own = trainer(tmp_path, model=model, given={"optimizers": (torch.optim.SGD(model.parameters(), lr=0.1), None)})
    with pytest.raises(sf.ArgumentError, match="one that builds its optimizer"):
        TrainerJob(own)
    with pytest.raises(sf.ArgumentTypeError, match=r"a transformers.Trainer"):
        TrainerJob(model)


def test_an_optimizer_class_of_the_users_is_taken(tmp_path):
    own = trainer(tmp_path, given={"optimizer_cls_and_kwargs": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.5})})
    job = TrainerJob(own, learning_rate=0.05)
    group = job.start(0.2, seed=0).optimizer.param_groups[0]
    assert (group["lr"], group["momentum"]) == (pytest.approx(0.2), 0.5)
