"""These are scripts, which run a framework's own tests: pytest leaves them alone, `python tests/oracles/NAME.py` runs them."""

collect_ignore_glob = ["*.py"]
