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
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

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


def outcomes(folder: Path, texts: dict[str, str], *more: str) -> dict[str, str]:
    """Run tests in a folder and return the outcome of each case."""
    folder.mkdir()
    (folder / "pytest.ini").write_text(SETTINGS, encoding="utf-8")
    for name, text in texts.items():
        (folder / Path(name).name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(
        [*command, "--junitxml=result.xml", *more], cwd=folder, capture_output=True, text=True, check=False
    )
    result = folder / "result.xml"
    if not result.exists():
        sys.exit(done.stdout + done.stderr)
    found = {}
    for case in ET.parse(result).getroot().iter("testcase"):
        first = next((child for child in case if child.tag in {"failure", "error", "skipped"}), None)
        file, _, kind = case.get("classname", "").rpartition(".")
        found[f"{file}::{kind}::{case.get('name')}"] = "passed" if first is None else first.tag
        if first is not None and first.tag != "skipped":
            (folder / "failures.txt").open("a", encoding="utf-8").write(f"{case.get('name')}\n{first.text}\n\n")
    return found


def shown(found: dict[str, str]) -> str:
    """Return how many cases ended how."""
    count = Counter(found.values())
    return ", ".join(f"{count[kind]} {kind}" for kind in sorted(count))


def main() -> int:
    """Run both, compare, and return the exit code."""
    parser = argparse.ArgumentParser(description="Run Keras' own tests with Keras' classes and with ours.")
    parser.add_argument("--without-slow", action="store_true", help=f"leave out the cases of {SLOW}")
    more = ["-k", f"not {SLOW}"] if parser.parse_args().without_slow else []
    package = importlib.util.find_spec("keras")
    if package is None or package.origin is None:
        sys.exit("Keras is not installed.")
    source = Path(package.origin).parent / "src"
    texts = {name: (source / name).read_text(encoding="utf-8") for name in FILES if (source / name).exists()}
    print(f"{len(texts)} files of Keras' tests on {os.environ.get('KERAS_BACKEND', 'the default backend')}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        theirs = outcomes(Path(folder, "keras"), texts, *more)
        print("Keras:   ", shown(theirs), flush=True)
        ours = outcomes(Path(folder, "ours"), {name: pointed_at_ours(text) for name, text in texts.items()}, *more)
        print("surefoot:", shown(ours))
        failures = Path(folder, "ours", "failures.txt")
        said = failures.read_text(encoding="utf-8") if failures.exists() else ""
    worse = [case for case, outcome in theirs.items() if outcome == "passed" and ours.get(case) != "passed"]
    for case in worse:
        print(f"  {ours.get(case, 'missing')}: {case}: {EXCUSED.get(case, 'NOT EXCUSED')}")
    unexcused = [case for case in worse if case not in EXCUSED]
    if unexcused:
        print(said)
    return 1 if unexcused else 0


if __name__ == "__main__":
    sys.exit(main())
