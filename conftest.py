"""Leaves out the doctests of integrations whose framework is not installed: no extra of the tests has them all."""

from importlib.util import find_spec

_LIGHTNING = ("lightning", "pytorch_lightning")
_NEEDS = {
    "lightning": _LIGHTNING,
    "_lightning_job": _LIGHTNING,
    "transformers": ("transformers",),
    "_trainer_job": ("transformers",),
    "optuna": ("optuna",),
}

collect_ignore = [
    f"src/surefoot/integrations/{name}.py" for name, needs in _NEEDS.items() if not any(map(find_spec, needs))
]
