"""Train with a rate that surefoot owns: warm-up, cosine, two parameter groups, and a checkpoint in the middle.

python examples/drive_torch.py
"""

import io

import surefoot as sf
import torch
from surefoot.torch import drive
from torch import nn

TOTAL_STEPS = 200
SCHEDULE = sf.linear_warmup("5%") >> sf.cosine_decay(to=0.01)


def build() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[2].parameters(), "lr": 0.02}]
    return model, torch.optim.Adam(groups)


torch.manual_seed(0)
x = torch.linspace(-2, 2, 256)[:, None]
y = torch.sin(2 * x)
model, optimizer = build()
learning_rate = drive(optimizer, SCHEDULE, total_steps=TOTAL_STEPS)
for step in range(TOTAL_STEPS):
    if step == TOTAL_STEPS // 2:  # a checkpoint, and a new process that goes on from it
        file = io.BytesIO()
        torch.save([model.state_dict(), optimizer.state_dict(), learning_rate.state_dict()], file)
        file.seek(0)
        states = torch.load(file, weights_only=True)
        model, optimizer = build()
        learning_rate = drive(optimizer, SCHEDULE, total_steps=TOTAL_STEPS)
        for part, state in zip((model, optimizer, learning_rate), states, strict=True):
            part.load_state_dict(state)
    if step % 40 == 0:
        print(f"step {step:3d}  rates {learning_rate.learning_rates}")
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    learning_rate.step()  # once for each update that happened
print(f"loss {loss.item():.4f} after {learning_rate.step_count} steps")
