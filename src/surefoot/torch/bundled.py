"""Three small real jobs, ready to be searched: a classifier, a regressor, a character language model.

They are what `surefoot find digits` runs, and examples of how a job is written. Each takes another optimizer or another
length: `digits(optimizer="sgd_momentum", total_steps=800)`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from torch.nn import functional

import torch
from surefoot import datasets
from surefoot.schedules import Schedule, cosine_decay, linear_warmup
from surefoot.torch._job import TorchJob
from torch import Tensor, nn

CONTEXT = 64  # characters that the language model sees


def digits(*, optimizer: Any = None, total_steps: int | None = None) -> TorchJob:
    """Classify 8x8 handwritten digits with a network of two hidden layers, 400 steps of 32 images.

    >>> digits().total_steps
    400
    """
    data = datasets.digits()
    return TorchJob(
        model=lambda: _mlp(64, 96, 96, 10),
        loss=_cross_entropy,
        train=_tensors(data.x, data.y),
        val=_tensors(data.x_val, data.y_val),
        batch_size=32,
        optimizer=optimizer or "adam",
        total_steps=400 if total_steps is None else total_steps,
        schedule=_schedule(),
        device="cpu",  # so small that a GPU would only wait
        name="digits",
    )


def diabetes(*, optimizer: Any = None, total_steps: int | None = None) -> TorchJob:
    """Predict how far a disease goes on from 10 measurements; 300 patients, so it over-fits. 400 steps of 32.

    >>> diabetes().name
    'diabetes'
    """
    data = datasets.diabetes()
    return TorchJob(
        model=lambda: _mlp(10, 64, 64, 1),
        loss=_squared_error,
        train=_tensors(data.x, data.y),
        val=_tensors(data.x_val, data.y_val),
        batch_size=32,
        optimizer=optimizer or "adam",
        total_steps=400 if total_steps is None else total_steps,
        schedule=_schedule(),
        device="cpu",  # so small that a GPU would only wait
        name="diabetes",
    )


def chars(*, optimizer: Any = None, total_steps: int | None = None) -> TorchJob:
    """Predict the next character of Python's own documentation with a small transformer; 300 steps of 16 lines.

    >>> chars(total_steps=200).total_steps
    200
    """
    data = datasets.python_docs()
    return TorchJob(
        model=lambda: CharTransformer(len(data.alphabet)),
        loss=_cross_entropy,
        train=_blocks(data.train),
        val=tuple(part[::2] for part in _blocks(data.val)),
        batch_size=16,
        optimizer=optimizer or "adamw",
        total_steps=300 if total_steps is None else total_steps,
        schedule=_schedule(),
        device="cpu",  # so small that a GPU would only wait
        clip_norm=1.0,
        weight_decay=0.1 if optimizer in (None, "adamw") else None,
        name="chars",
    )


BUNDLED: dict[str, Callable[..., TorchJob]] = {"digits": digits, "diabetes": diabetes, "chars": chars}


class CharTransformer(nn.Module):
    """A causal transformer over characters: pre-norm, two blocks, about 110,000 parameters."""

    def __init__(self, alphabet: int, width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(alphabet, width)
        self.place = nn.Parameter(0.02 * torch.randn(CONTEXT, width))
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, alphabet, bias=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the logits of the next character at every place."""
        x = self.embed(codes) + self.place[: codes.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm_1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.mix(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm_2(x))


def _mlp(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _cross_entropy(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    x, y = batch
    logits: Tensor = model(x)
    return functional.cross_entropy(logits.flatten(0, -2), y.flatten())


def _squared_error(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    x, y = batch
    return functional.mse_loss(model(x), y)


def _schedule() -> Schedule:
    return linear_warmup("5%") >> cosine_decay()


def _tensors(*arrays: Any) -> tuple[Tensor, ...]:
    return tuple(torch.as_tensor(array) for array in arrays)


def _blocks(codes: Any) -> tuple[Tensor, Tensor]:
    """Cut a text into rows of CONTEXT characters and the same rows one character later."""
    count = (len(codes) - 1) // CONTEXT
    rows = torch.as_tensor(codes[: count * CONTEXT + 1])
    return rows[:-1].view(count, CONTEXT), rows[1:].view(count, CONTEXT)
