"""Objects from saved configurations: ours in place of those of Keras that have the same name."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras


def found(config: Any, ours: Mapping[str, type[Any]], custom_objects: Mapping[str, Any] | None) -> Any:
    """Return the object of a configuration if its class is one of ours or of Keras by the same name, else None."""
    name = config.get("class_name") if isinstance(config, Mapping) else None
    kind = ours.get(str(name).lower())
    package = str((config.get("registered_name") if kind else None) or name).rpartition(">")[0]
    if kind is None or package not in {"", "surefoot"} or name in (custom_objects or {}):
        return None
    with keras.saving.custom_object_scope(dict(custom_objects or {})):
        return kind.from_config(dict(config.get("config") or {}))
