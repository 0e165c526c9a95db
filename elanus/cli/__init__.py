"""The command line: `elanus serve`, `elanus config`, `elanus inspect`."""

from elanus.cli.app import main

__all__ = ["main"]
