import ast
import importlib
import inspect
import tomllib
from pathlib import Path

import pytest

import surefoot

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "cli",
    "control",
    "datasets",
    "integrations",
    "kernels",
    "keras",
    "optax",
    "report",
    "rules",
    "run",
    "schedules",
    "search",
    "testing",
    "torch",
)


def names_for_type_checkers(module):
    """Return what is imported under `if TYPE_CHECKING:`."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    blocks = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    imports = [n for block in blocks for n in block.body if isinstance(n, ast.ImportFrom)]
    assert all(alias.asname == alias.name for n in imports for alias in n.names), "write `from x import A as A`"
    return {alias.name for n in imports for alias in n.names}


def names_imported(module):
    """Return what a package re-exports as `from ._x import A as A`."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    if any(isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING" for n in tree.body):  # loaded when used
        return names_for_type_checkers(module)
    imports = [n for n in tree.body if isinstance(n, ast.ImportFrom)]
    return {alias.asname for n in imports for alias in n.names if alias.asname == alias.name}


def test_the_front_door_lists_what_type_checkers_see():
    assert set(surefoot.__all__) - {"__version__"} == names_for_type_checkers(surefoot)


def test_the_front_door_lists_nothing_twice():
    assert len(surefoot.__all__) == len(set(surefoot.__all__))


@pytest.mark.parametrize("name", surefoot.__all__)
def test_each_name_of_the_front_door_resolves_and_is_shown_by_dir(name):
    assert getattr(surefoot, name) is getattr(surefoot, name)
    assert name in dir(surefoot)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'find_lr'"):
        _ = surefoot.find_lr


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_lists_what_it_offers(package):
    module = importlib.import_module(f"surefoot.{package}")
    assert set(module.__all__) == names_imported(module)
    assert len(module.__all__) == len(set(module.__all__))


def test_no_package_is_forgotten_here():
    folders = {path.parent.name for path in (ROOT / "src" / "surefoot").glob("*/__init__.py")}
    assert folders == set(PACKAGES)


PUBLIC = [("surefoot", name) for name in surefoot.__all__ if name != "__version__"] + [
    (f"surefoot.{package}", name)
    for package in PACKAGES
    for name in importlib.import_module(f"surefoot.{package}").__all__
]


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_each_public_name_says_what_it_is_for(module, name):
    thing = getattr(importlib.import_module(module), name)
    own = thing.__doc__ if inspect.isclass(thing) else inspect.getdoc(thing)
    assert own, f"{module}.{name} has no docstring"
    first = own.strip().splitlines()[0]
    assert not first.startswith(f"{name}("), "a dataclass's own signature is no docstring"
    assert first.endswith((".", "?")), f"{module}.{name}: the first line is one sentence"


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_public_methods_say_what_they_do(module, name):
    thing = getattr(importlib.import_module(module), name)
    if not inspect.isclass(thing):
        return
    methods = [
        method
        for method, value in vars(thing).items()
        if not method.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    ]
    data = set(getattr(thing, "__annotations__", ()))
    silent = [m for m in methods if m not in data and not inspect.getdoc(getattr(thing, m))]
    # The attributes of a protocol are described in its class docstring.
    silent = [m for m in silent if not (isinstance(vars(thing)[m], property) and f"{m}:" in (thing.__doc__ or ""))]
    assert not silent, f"{module}.{name}: no docstring on {', '.join(silent)}"


def test_there_is_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == surefoot.__version__
    assert f"## [{surefoot.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
