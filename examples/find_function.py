"""Find the learning rate of a training loop that surefoot cannot look into: here softmax regression in NumPy.

python examples/find_function.py
surefoot find --steps 300 examples/find_function.py:train
"""

import numpy as np

import surefoot as sf
from surefoot import datasets

DATA = datasets.digits()
X, X_VAL = DATA.x.reshape(len(DATA.x), -1), DATA.x_val.reshape(len(DATA.x_val), -1)


def train(learning_rate: float, steps: int, seed: int) -> float:
    """Train a fresh model for `steps` steps, the rate falling to 0 at the last one; return the validation loss."""
    random = np.random.default_rng(seed)
    weights = 0.01 * random.standard_normal((X.shape[1], 10))
    for factor in sf.cosine_decay().simulate(steps):
        batch = random.integers(len(X), size=32)
        gradient = softmax(X[batch] @ weights)
        gradient[np.arange(32), DATA.y[batch]] -= 1.0
        weights -= learning_rate * factor * X[batch].T @ gradient / 32
    chances = softmax(X_VAL @ weights)[np.arange(len(X_VAL)), DATA.y_val]
    return float(-np.log(chances + 1e-12).mean())


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    job = sf.FunctionJob(train, total_steps=300, learning_rate=0.01)
    found = sf.find(job, budget=1.0, seed=0)
    print(found)
    for trial in found.trials:
        print(f"{trial.rung:8s} rate {trial.learning_rate:<8g} steps {trial.steps:4d}  loss {trial.val_loss}")
