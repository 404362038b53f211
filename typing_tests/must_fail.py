"""User code that must not type-check: a line whose error is gone makes its `ignore` an error."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

import surefoot as sf
import surefoot.optax
import surefoot.rules
import torch
from surefoot.torch import TorchJob, drive
from torch import Tensor, nn

# ---- schedules
sf.cosine_decay(to="0.1")  # pyright: ignore[reportArgumentType] - a number
sf.linear_warmup("5%") >> 0.1  # pyright: ignore[reportOperatorIssue, reportUnusedExpression] - schedules are joined
sf.linear_warmup("5%") * "2"  # pyright: ignore[reportOperatorIssue, reportUnusedExpression] - a number or a schedule
sf.cosine_decay().resolve("400")  # pyright: ignore[reportArgumentType] - total_steps is a whole number
sf.multistep(30)  # pyright: ignore[reportArgumentType] - a list of milestones
sf.check(0.1, total_steps=9)  # pyright: ignore[reportArgumentType] - a schedule or a function
sf.cosine_decay().length = 5  # pyright: ignore[reportAttributeAccessIssue] - schedules do not change

# ---- controllers
sf.Chain([sf.Plateau()])  # pyright: ignore[reportArgumentType] - one argument each
sf.Chain(sf.Plateau()).factor = 0.5  # pyright: ignore[reportAttributeAccessIssue] - it is that of the members


# ---- jobs
def no_loss(model: nn.Module) -> Tensor:
    return model(torch.zeros(1))


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


data = (torch.zeros(64, 1), torch.zeros(64, 1))
model = nn.Linear(1, 1)
TorchJob(model=model, loss=no_loss, train=data, val=data, total_steps=9)  # pyright: ignore[reportArgumentType]
TorchJob(model=model, loss=loss, train=data, val=data)  # pyright: ignore[reportCallIssue] - total_steps is missing
TorchJob(model=model, loss=loss, train=data, val=data, total_steps=9, goal="up")  # pyright: ignore[reportArgumentType]
TorchJob(model, loss, train=data, val=data, total_steps=9)  # pyright: ignore[reportCallIssue] - by keyword only
sf.FunctionJob(0.1, total_steps=9)  # pyright: ignore[reportArgumentType] - a function
sf.CommandJob("python train.py", total_steps="9")  # pyright: ignore[reportArgumentType]

# ---- find
job = TorchJob(model=model, loss=loss, train=data, val=data, total_steps=9)
sf.find(model)  # pyright: ignore[reportArgumentType] - a model is no job
sf.find(job, 1.0)  # pyright: ignore[reportCallIssue] - budget by keyword
sf.find(job, bounds=0.1)  # pyright: ignore[reportArgumentType] - a pair
sf.find(job, methods=["adam", "dog"], bounds=(0.1, 1.0))  # pyright: ignore[reportArgumentType] - its own range
found = sf.find(job)
found.learning_rate = 0.1  # pyright: ignore[reportAttributeAccessIssue] - an answer does not change
print(found.lr)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]

# ---- drive
drive(torch.optim.SGD(model.parameters(), lr=0.1), sf.cosine_decay())  # pyright: ignore[reportCallIssue]
drive(model, sf.cosine_decay(), total_steps=9)  # pyright: ignore[reportArgumentType] - a model is no optimizer
print(sf.no_such_name)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType] - a misspelled name

# ---- optax
surefoot.optax.adamw("3e-3")  # pyright: ignore[reportArgumentType] - a number, an array or a schedule
surefoot.optax.from_rule(surefoot.optax.adam, 3e-3)  # pyright: ignore[reportArgumentType] - a rule
surefoot.optax.from_rule(surefoot.rules.Adam(), 3e-3, 0.1)  # pyright: ignore[reportCallIssue] - by keyword only
