"""Twenty faults in the training of a small language model: with a guard, and without.

    python benchmarks/faults.py [--text FILE] [--seeds 0 1 2 3 4] [--steps 400]

Four kinds of fault at a random step of the middle half, one for each seed: the learning rate times 100 for one update;
a batch whose loss is NaN; a batch whose labels explode (its loss and gradients times a million, after which Adam's
second moment is spoilt); and a NaN batch whose newest snapshot is damaged on disk. Each run is trained three times on
the same batches: clean, with the fault and no guard, with the fault and a guard. Shown are the final losses on held-out
text, relative to the clean run, how often the guard acted, and the updates that were undone. `--text` defaults to the
text that comes with Python (`surefoot.datasets`). Results go into a dated record.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

import surefoot as sf
import torch
from surefoot.datasets import python_docs
from surefoot.torch import Adam, Checkpointer, drive
from torch import nn

RECORDS = Path(__file__).parent / "records"
KINDS = ("rate x100", "NaN batch", "exploding labels", "damaged snapshot")
CONTEXT, BATCH, WIDTH, RATE = 64, 16, 64, 3e-3
ALLOWED = 0.02


class Model(nn.Module):
    """Two transformer blocks over characters."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(characters, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        block = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, characters)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.token(x) + self.place.weight
        return self.head(self.norm(self.blocks(h, mask=self.mask, is_causal=True)))


def loss_of(model: nn.Module, data: torch.Tensor, starts: Iterable[int]) -> torch.Tensor:
    chunk = torch.stack([data[i : i + CONTEXT + 1] for i in starts])
    return nn.functional.cross_entropy(model(chunk[:, :-1]).flatten(0, 1), chunk[:, 1:].flatten())


def train(
    data: torch.Tensor, seed: int, steps: int, fault: tuple[str, int] | None, *, is_guarded: bool
) -> dict[str, Any]:
    """Train once; return the final loss on held-out text and what the guard did."""
    cut = int(0.9 * len(data))
    torch.manual_seed(seed)
    model = Model(int(data.max()) + 1)
    optimizer = Adam(model.parameters(), lr=RATE)
    kind, at = fault or ("", -1)
    with tempfile.TemporaryDirectory() as folder:
        snapshots = Checkpointer(model=model, optimizer=optimizer, directory=folder, every=10, settle=3, keep=3)
        guard = sf.DivergenceGuard(rewind=snapshots, recover=30)
        plan = sf.linear_warmup("5%") >> sf.cosine_decay()
        lr = drive(optimizer, plan, total_steps=steps, controllers=[guard] if is_guarded else [])
        batches = random.Random(seed)
        for step in range(steps):
            starts = [batches.randrange(cut - CONTEXT - 1) for _ in range(BATCH)]
            loss = loss_of(model, data, starts)
            if step == at and kind in {"NaN batch", "damaged snapshot"}:
                loss = loss * math.nan
            if step == at and kind == "exploding labels":
                loss = loss * 1e6
            if step == at and kind == "rate x100":
                optimizer.param_groups[0]["lr"] *= 100
            if step == at and kind == "damaged snapshot":
                damage(Path(folder))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            lr.step(loss=loss)
            if lr.should_stop:
                break
    held_out = random.Random(1)
    with torch.no_grad():
        starts = [held_out.randrange(cut, len(data) - CONTEXT - 1) for _ in range(256)]
        final = float(loss_of(model.eval(), data, starts))
    changes = [str(change) for change in lr.changes]
    return {"loss": final, "attempts": guard.troubles, "lost": undone(lr.changes), "log": changes}


def damage(folder: Path) -> None:
    """Flip a bit in the middle of the newest snapshot."""
    newest = max(folder.glob("snapshot-*.pt"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)


def undone(changes: Iterable[Any]) -> int:
    """Return how many updates the guard has taken back."""
    return sum(c.step - int(c.cause.rpartition(" ")[2]) for c in changes if "back to the weights of step" in c.cause)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--text", type=Path)
    arguments.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    arguments.add_argument("--steps", type=int, default=400)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    if given.text:
        text = given.text.read_text(encoding="utf-8")
        letters = {c: i for i, c in enumerate(sorted(set(text)))}
        data = torch.tensor([letters[c] for c in text])
    else:
        docs = python_docs()
        data = torch.cat([torch.from_numpy(docs.train), torch.from_numpy(docs.val)])
    clean = {seed: train(data, seed, given.steps, None, is_guarded=True) for seed in given.seeds}
    rows: list[dict[str, Any]] = []
    console = Console()
    for kind, seed in track([(k, s) for k in KINDS for s in given.seeds], "faults", console=console):
        at = random.Random(f"{kind} {seed}").randrange(given.steps // 4, 3 * given.steps // 4)
        row: dict[str, Any] = {"fault": kind, "seed": seed, "step": at, "clean": clean[seed]["loss"]}
        for name, is_guarded in (("unguarded", False), ("guarded", True)):
            run = train(data, seed, given.steps, (kind, at), is_guarded=is_guarded)
            row[name] = run["loss"]
            if is_guarded:
                row |= {"attempts": run["attempts"], "lost": run["lost"], "log": run["log"]}
        rows.append(row)
        off = {name: row[name] / row["clean"] - 1.0 for name in ("unguarded", "guarded")}
        console.print(
            f"{kind:17s} seed {seed} step {at:4d}  clean {row['clean']:.4f}  unguarded {off['unguarded']:+8.1%}  "
            f"guarded {off['guarded']:+6.1%}  attempts {row['attempts']}  lost {row['lost']}"
        )
    saved = sum(abs(r["guarded"] / r["clean"] - 1.0) <= ALLOWED for r in rows)
    failed = sum(not r["unguarded"] / r["clean"] - 1.0 <= ALLOWED for r in rows)
    console.print(
        f"\nwithin {ALLOWED:.0%} of the clean run: {saved} of {len(rows)} with the guard, {len(rows) - failed} without"
    )
    alarms = sum(run["attempts"] for run in clean.values())
    console.print(f"false alarms in the {len(clean)} clean runs: {alarms}")
    today = datetime.now(UTC)
    record = RECORDS / f"{today:%Y-%m-%d}-faults.json"
    kept = {"date": f"{today:%Y-%m-%d %H:%M} UTC", "steps": given.steps, "torch": torch.__version__, "rows": rows}
    record.write_text(json.dumps({**kept, "false_alarms": alarms}) + "\n")
    console.print(f"record: {record.name}")


if __name__ == "__main__":
    main()
