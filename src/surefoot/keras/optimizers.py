"""What `keras.optimizers` offers, with our optimizers in place of Keras' own of the same name.

from surefoot.keras import optimizers          in place of          from keras import optimizers
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from typing import Any

import keras
from surefoot._checks import nearest, refuse
from surefoot.keras import schedules
from surefoot.keras._learning_rate_free import DAdaptAdam, DAdaptSGD, DoWG, Prodigy
from surefoot.keras._lookup import found
from surefoot.keras._more_adam import AdaBelief, Adan, AdEMAMix
from surefoot.keras._optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, Nadam, RMSprop
from surefoot.keras._rule_optimizer import DoG, RAdam, RuleOptimizer
from surefoot.keras._schedule_free import AdamWScheduleFree, SGDScheduleFree

__all__ = [
    "SGD",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "AdamWScheduleFree",
    "Adamax",
    "Adan",
    "DAdaptAdam",
    "DAdaptSGD",
    "DoG",
    "DoWG",
    "Lion",
    "Nadam",
    "Optimizer",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "RuleOptimizer",
    "SGDScheduleFree",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

theirs: Any = keras.optimizers
Optimizer: Any = theirs.Optimizer
serialize: Any = theirs.serialize

OURS = {
    kind.__name__.lower(): kind
    for kind in (SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW, Nadam, Adamax, Lion, RAdam, DoG, RuleOptimizer)
} | {
    kind.__name__.lower(): kind
    for kind in (DoWG, DAdaptSGD, DAdaptAdam, Prodigy, SGDScheduleFree, AdamWScheduleFree, AdaBelief, Adan, AdEMAMix)
}


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the optimizer of a saved configuration, as `keras.optimizers.deserialize`; ours for Keras' own names.

    >>> type(deserialize(keras.optimizers.serialize(keras.optimizers.Nadam()))).__module__
    'surefoot.keras._optimizers'
    """
    return found(config, OURS, custom_objects) or theirs.deserialize(config, custom_objects)


def get(identifier: Any) -> Any:
    """Return an optimizer: of its name, of a configuration, or itself; as `keras.optimizers.get`, with ours first.

    Args:
        identifier: a name such as "adam", in any case; a configuration; an optimizer; or None, which stays None.

    Raises:
        ArgumentError: nothing by that name.

    >>> type(get("adam")).__module__
    'surefoot.keras._optimizers'
    """
    if isinstance(identifier, dict):
        return theirs.get(deserialize(identifier))
    if not isinstance(identifier, str):
        return theirs.get(identifier)
    if identifier.lower() in OURS:
        return OURS[identifier.lower()]()
    try:
        return theirs.get(identifier)
    except ValueError as error:
        names = {*OURS, *(name.lower() for name in dir(theirs) if name[0].isupper())}
        cure = nearest(identifier.lower(), names)
        raise refuse("get", "identifier", identifier, "the name of an optimizer", cure) from error


def __getattr__(name: str) -> Any:
    return getattr(theirs, name)
