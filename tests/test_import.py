"""What importing costs. Each question is asked in a process of its own."""

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {"torch", "jax", "jaxlib", "keras", "tensorflow", "optax", "transformers"}
HEAVY = FRAMEWORKS | {"numpy", "scipy", "matplotlib", "sklearn", "PIL"}


def ask(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def loaded_after(code):
    modules = ask(f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("module", ["surefoot", "surefoot.schedules", "surefoot.learning_rate", "surefoot.run"])
def test_importing_the_pure_parts_loads_neither_numpy_nor_a_framework(module):
    assert not loaded_after(f"import {module}") & HEAVY


@pytest.mark.parametrize("module", ["surefoot.search", "surefoot.report", "surefoot.datasets", "surefoot.cli"])
def test_importing_what_is_no_adapter_loads_no_framework(module):
    assert not loaded_after(f"import {module}") & (FRAMEWORKS | {"matplotlib"})


def test_importing_the_optax_adapter_loads_no_other_framework():
    loaded = loaded_after("import surefoot.optax")
    assert {"jax", "optax"} <= loaded
    assert not loaded & {"torch", "keras", "tensorflow", "transformers"}


def test_importing_the_integrations_loads_no_framework():
    assert not loaded_after("import surefoot.integrations") & (HEAVY | {"lightning"})


@pytest.mark.parametrize(
    ("name", "missing"), [("lightning", ("lightning", "pytorch_lightning")), ("transformers", ("transformers",))]
)
def test_a_missing_trainer_says_what_to_install(name, missing):
    hidden = "".join(f"sys.modules[{module!r}] = None\n" for module in missing)
    code = f"""import json, sys
{hidden}
try:
    import surefoot.integrations.{name}
except ImportError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
    assert ask(code) == ["MissingExtraError", f'`{name}` is not installed. Run: pip install "surefoot[{name}]"']


def test_asking_for_a_schedule_loads_no_numpy():
    assert not loaded_after("import surefoot as sf\n(sf.linear_warmup(3) >> sf.cosine_decay(9))(5)") & HEAVY


def test_importing_surefoot_takes_under_50_ms():
    code = "import time\nbegan = time.perf_counter()\nimport surefoot\nprint(time.perf_counter() - began)"
    best = min(ask(code) for _ in range(7))  # the least: a busy machine only ever adds
    assert best < 0.05, f"import surefoot took {1000 * best:.0f} ms at best"


def test_the_torch_adapter_adds_under_100_ms_to_torchs_own_import():
    pytest.importorskip("torch")
    code = "import time, torch\nbegan = time.process_time()\nimport surefoot.torch\nsurefoot.torch.Adam\nprint(time.process_time() - began)"
    best = min(ask(code) for _ in range(3))
    assert best < 0.1, f"import surefoot.torch took {1000 * best:.0f} ms after torch"
    assert not loaded_after("import surefoot.torch") & {"jax", "keras", "optax", "tensorflow", "matplotlib"}
    modules = ask(
        "import json, sys, surefoot.torch\nprint(json.dumps([m for m in sys.modules if m.startswith('torch._')]))"
    )
    assert "torch._dynamo" not in modules  # a second more


@pytest.mark.parametrize("arguments", [["--help"], ["find", "--help"], ["--version"]])
def test_asking_for_help_loads_nothing_heavy(arguments):
    code = (
        "import contextlib\nfrom surefoot.cli import main\n"
        f"with contextlib.suppress(SystemExit):\n    main({arguments!r}, prog_name='surefoot')"
    )
    assert not loaded_after(code) & HEAVY
