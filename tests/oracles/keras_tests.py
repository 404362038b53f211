"""Keras' own tests as an oracle: what passes with Keras' classes must pass with ours.

    KERAS_BACKEND=jax python tests/oracles/keras_tests.py [--without-slow]

Keras' wheel has its tests in it. They are read from the installed package, three forms of imports are pointed at
`surefoot.keras`, and they run twice in a temporary folder: with Keras' classes and with ours. Exit code 1 if a case that
passes with Keras' does not pass with ours and is not excused below.

What they do not catch (torch's place for epsilon, a rate outside of the momentum) is in tests/keras/test_parity.py.
"""

import argparse
import importlib.util
import os
import re
import sys
from pathlib import Path

from _compare import compare

OPTIMIZERS = ("sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "adamax", "nadam", "lion")
AROUND = ("optimizer", "optimizer_sparse", "multi_optimizer", "loss_scale_optimizer")
FILES = [
    *(f"optimizers/{name}_test.py" for name in (*OPTIMIZERS, *AROUND)),
    "optimizers/schedules/learning_rate_schedule_test.py",
    *(f"callbacks/{name}_test.py" for name in ("learning_rate_scheduler", "reduce_lr_on_plateau", "monitor_callback")),
]
SLOW = "gradient_accumulation"  # on JAX a minute and a half
EXCUSED = {  # "file::class::case": why ours may differ
    "lion_test::LionTest::test_invalid_beta_1": "refused too, in our words: both are ValueErrors that name beta_1",
    "sgd_test::SGDTest::test_invalid_momentum": "refused too, in our words: both are ValueErrors that name momentum",
    "reduce_lr_on_plateau_test::ReduceLROnPlateauTest::test_throws_when_optimizer_has_schedule": (
        "Keras' plateau crashes on a rate that is a schedule, ours multiplies it: see tests/keras/test_callbacks.py"
    ),
}
SETTINGS = """[pytest]
python_files = *_test.py
markers =
    requires_trainable_backend
    multi_device
"""


def pointed_at_ours(text: str) -> str:
    """Return the text of a test with our modules in place of Keras'."""
    modules = ["optimizers"] + ["callbacks"] * (importlib.util.find_spec("surefoot.keras.callbacks") is not None)
    text = re.sub(
        rf"^from keras\.src import ({'|'.join(modules)})$", r"from surefoot.keras import \1", text, flags=re.MULTILINE
    )
    text = re.sub(
        r"^from keras\.src\.optimizers import schedules$",
        "from surefoot.keras import schedules",
        text,
        flags=re.MULTILINE,
    )
    return re.sub(
        r"^from keras\.src\.optimizers\.\w+ import", "from surefoot.keras.optimizers import", text, flags=re.MULTILINE
    )


def main() -> int:
    """Run both, compare, and return the exit code."""
    parser = argparse.ArgumentParser(description="Run Keras' own tests with Keras' classes and with ours.")
    parser.add_argument("--without-slow", action="store_true", help=f"leave out the cases of {SLOW}")
    more = ["-k", f"not {SLOW}"] if parser.parse_args().without_slow else []
    package = importlib.util.find_spec("keras")
    if package is None or package.origin is None:
        sys.exit("Keras is not installed.")
    source = Path(package.origin).parent / "src"
    texts = {Path(n).name: (source / n).read_text(encoding="utf-8") for n in FILES if (source / n).exists()}
    print(f"{len(texts)} files of Keras' tests on {os.environ.get('KERAS_BACKEND', 'the default backend')}", flush=True)
    ours = {name: pointed_at_ours(text) for name, text in texts.items()}
    settings = {"pytest.ini": SETTINGS}
    return compare("Keras", texts | settings, ours | settings, EXCUSED, *more)


if __name__ == "__main__":
    sys.exit(main())
