"""An ordinary training script, which knows nothing of surefoot; only the standard library and NumPy.

    surefoot find --steps 400 -- python examples/train_script.py --lr {lr} --steps {steps} --seed {seed}

What makes it searchable: it takes the rate, the steps and the seed, its schedule ends at `--steps`, and it prints
`val_loss=...`.
"""

import argparse
import math

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

# A sine to learn, with noise; the network has one hidden layer.
random = np.random.default_rng(options.seed)
data = np.random.default_rng(1234)
x, x_val = data.uniform(-3, 3, (300, 1)), data.uniform(-3, 3, (200, 1))
y, y_val = np.sin(2 * x) + 0.1 * data.standard_normal(x.shape), np.sin(2 * x_val)
w1, b1 = random.standard_normal((1, 64)) * 2, random.uniform(-3, 3, 64)
w2, b2 = random.standard_normal((64, 1)) / 8, np.zeros(1)

for step in range(options.steps):
    lr = options.lr * 0.5 * (1 + math.cos(math.pi * step / options.steps))
    batch = random.integers(len(x), size=32)
    hidden = np.tanh(x[batch] @ w1 + b1)
    error = 2 * (hidden @ w2 + b2 - y[batch]) / len(batch)
    inside = (error @ w2.T) * (1 - hidden**2)
    w2, b2 = w2 - lr * hidden.T @ error, b2 - lr * error.sum(0)
    w1, b1 = w1 - lr * x[batch].T @ inside, b1 - lr * inside.sum(0)

val_loss = float(np.mean((np.tanh(x_val @ w1 + b1) @ w2 + b2 - y_val) ** 2))
print(f"val_loss={val_loss:.6f}")
