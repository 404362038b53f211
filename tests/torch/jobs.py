"""Small torch jobs for the tests, one line each in `JOBS`."""

import random
from collections import namedtuple

import numpy as np
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import torch
from surefoot.torch import TorchJob
from torch import nn

GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(52, 6, generator=GENERATOR)
Y = (X[:, :3].sum(1) > X[:, 3:].sum(1)).long()
X_VAL = torch.randn(21, 6, generator=GENERATOR)
Y_VAL = (X_VAL[:, :3].sum(1) > X_VAL[:, 3:].sum(1)).long()

Sample = namedtuple("Sample", ["x", "y"])  # noqa: PYI024 - what users have


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


def noisy():
    """Return a network whose every part has a state or draws random numbers."""
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 2))


def loss(model, batch):
    x, y = (batch["x"], batch["y"]) if isinstance(batch, dict) else batch
    return functional.cross_entropy(model(x), y)


class Augmented(Dataset):
    """Draws from all three global generators."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        noise = torch.randn(6) * 0.1 + random.random() * 0.1 + np.random.rand() * 0.1  # noqa: NPY002
        return X[i] + noise.float(), Y[i]


class Dicts(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return {"x": X[i], "y": Y[i]}


class Tuples(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return Sample(X[i], Y[i])


class Endless(IterableDataset):
    """Of unknown length; another order at each pass."""

    def __iter__(self):
        order = list(range(len(X)))
        random.shuffle(order)
        return iter([(X[i], Y[i]) for i in order])


class Lazy(Endless):
    """Draws the order while it goes."""

    def __iter__(self):
        for _ in range(len(X)):
            i = random.randrange(len(X))
            yield X[i], Y[i]


def job(**changes):
    settings = {
        "model": mlp,
        "loss": loss,
        "train": (X, Y),
        "val": (X_VAL, Y_VAL),
        "batch_size": 8,
        "optimizer": "adam",
        "total_steps": 40,
        "device": "cpu",
    }
    return TorchJob(**{**settings, **changes})


def loader(dataset, **settings):
    return DataLoader(dataset, **{"batch_size": 8, "shuffle": True, **settings})


def grouped(params, lr):
    """Return an optimizer with a tenth of the rate for the matrices."""
    params = list(params)
    groups = [
        {"params": [p for p in params if p.ndim > 1], "lr": lr / 10},
        {"params": [p for p in params if p.ndim < 2]},
    ]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9)


def tensor_rate(params, lr):
    return torch.optim.Adam(params, lr=torch.tensor(lr))


JOBS = {
    "tensors": dict,
    **{name: lambda name=name: {"optimizer": name} for name in (
        "sgd", "sgd_momentum", "sgd_nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam", "radam", "adamax",
    )},
    "groups": lambda: {"optimizer": grouped},
    "tensor rate": lambda: {"optimizer": tensor_rate},
    "class as factory": lambda: {"optimizer": torch.optim.AdamW},
    "clipped": lambda: {"clip_norm": 0.1},
    "noisy model": lambda: {"model": noisy},
    "module": lambda: {"model": MODULE},
    "arrays": lambda: {"train": (X.numpy(), Y.numpy()), "val": [X_VAL.numpy(), Y_VAL.numpy()]},
    "tensor dataset": lambda: {"train": TensorDataset(X, Y), "val": TensorDataset(X_VAL, Y_VAL)},
    "augmented dataset": lambda: {"train": Augmented(), "model": noisy},
    "dicts": lambda: {"train": Dicts(), "val": DataLoader(Dicts(), batch_size=16)},
    "named tuples": lambda: {"train": Tuples()},
    "loader": lambda: {"train": loader(TensorDataset(X, Y)), "val": DataLoader(TensorDataset(X_VAL, Y_VAL), batch_size=5)},
    "augmented loader": lambda: {"train": loader(Augmented()), "model": noisy},
    "loader with generator": lambda: {"train": loader(Augmented(), generator=torch.Generator().manual_seed(1))},
    "loader without rest": lambda: {"train": loader(Dicts(), drop_last=True)},
    "loader of samples with replacement": lambda: {
        "train": DataLoader(TensorDataset(X, Y), batch_size=8, sampler=torch.utils.data.RandomSampler(X, replacement=True, generator=torch.Generator())),
    },
    "shuffled validation": lambda: {"val": loader(TensorDataset(X_VAL, Y_VAL), generator=torch.Generator())},
    "endless": lambda: {"train": DataLoader(Endless(), batch_size=8)},
    "lazy order": lambda: {"train": DataLoader(Lazy(), batch_size=8), "model": noisy},
}  # fmt: skip

with torch.random.fork_rng():
    torch.manual_seed(11)
    MODULE = noisy()
