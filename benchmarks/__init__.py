"""One harness that does the same work on elanus and on its peers, in turn, in one run."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
