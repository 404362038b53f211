"""What importing costs, and that each backend gets only its own. Each question is asked in a process of its own."""

import json
import os
import subprocess
import sys

import keras

BACKEND = keras.backend.backend()


def loaded_after(code):
    code = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    env = {**os.environ, "KERAS_BACKEND": BACKEND}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=env
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_it_imports_keras_and_nothing_else():
    more = loaded_after("import surefoot.keras") - loaded_after("import keras")
    assert {m for m in more if m not in sys.stdlib_module_names and not m.startswith("_")} == {"surefoot"}
