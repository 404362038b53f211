"""Optimizers by name, for a job that is told another one than its model was compiled with."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from typing import Any

from surefoot.keras import optimizers as ours
from surefoot.keras._bench import settings_of

NAMED: dict[str, tuple[Any, dict[str, Any], float]] = {
    "sgd": (ours.SGD, {}, 1e-2),
    "sgd_momentum": (ours.SGD, {"momentum": 0.9}, 1e-2),
    "sgd_nesterov": (ours.SGD, {"momentum": 0.9, "nesterov": True}, 1e-2),
    "adagrad": (ours.Adagrad, {}, 1e-2),
    "adadelta": (ours.Adadelta, {}, 1.0),
    "rmsprop": (ours.RMSprop, {}, 1e-3),
    "adam": (ours.Adam, {}, 1e-3),
    "adamw": (ours.AdamW, {}, 1e-3),
    "nadam": (ours.Nadam, {}, 1e-3),
    "radam": (ours.RAdam, {}, 1e-3),
    "adamax": (ours.Adamax, {}, 2e-3),
    "lion": (ours.Lion, {}, 1e-4),
    "dog": (ours.DoG, {}, 1.0),
    "dowg": (ours.DoWG, {}, 1.0),
    "dadapt_sgd": (ours.DAdaptSGD, {}, 1.0),
    "dadapt_adam": (ours.DAdaptAdam, {}, 1.0),
    "prodigy": (ours.Prodigy, {}, 1.0),
}
LEARNING_RATE_FREE = frozenset({"dog", "dowg", "dadapt_sgd", "dadapt_adam", "prodigy"})  # their rate is a factor
_COMMON = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "gradient_accumulation_steps",
)


def instead_of(optimizer: Any, name: str) -> Any:
    """Return the optimizer of a name, with what all of Keras' optimizers have as it was set in another one.

    In Keras weight decay is beside the gradient in every optimizer, and so means the same.
    """
    inner = getattr(
        optimizer, "inner_optimizer", optimizer
    )  # compile() wraps the new one again, where a policy asks for it
    kind, settings, usual = NAMED[name]
    now, default = settings_of(inner), _defaults(type(inner))
    kept = {key: now[key] for key in _COMMON if key in now and now[key] is not None and now[key] != default.get(key)}
    return kind(learning_rate=usual, **settings, **kept)


def _defaults(kind: Any) -> dict[str, Any]:
    try:
        return settings_of(kind())
    except Exception:  # noqa: BLE001 - an optimizer of the user's own
        return {}
