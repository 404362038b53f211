"""surefoot for optax."""

try:
    import optax as _optax  # noqa: F401  # pyright: ignore[reportUnusedImport, reportMissingTypeStubs] - asked only whether it is there
except ImportError as _error:
    from surefoot._errors import missing_extra

    raise missing_extra("optax", "jax") from _error

__all__: list[str] = []
