"""``python -m rnnx``: the same as the command ``rnnx``."""

from rnnx.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
