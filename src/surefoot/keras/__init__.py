"""surefoot for Keras 3."""

try:
    import keras as _keras  # noqa: F401  # pyright: ignore[reportUnusedImport] - asked only whether it is there
except ImportError as _error:
    from surefoot._errors import missing_extra

    raise missing_extra("keras", "keras") from _error

__all__: list[str] = []
