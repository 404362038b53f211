"""Leaves out the doctests of integrations whose framework is not installed: no extra of the tests has them."""

from importlib.util import find_spec

_NEEDS = {"lightning": ("lightning", "pytorch_lightning"), "transformers": ("transformers",), "optuna": ("optuna",)}

collect_ignore = [
    f"src/surefoot/integrations/{name}.py" for name, needs in _NEEDS.items() if not any(map(find_spec, needs))
]
