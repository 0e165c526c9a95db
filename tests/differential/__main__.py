"""Asks elanus and Milvus 2.3.5 the same and compares what they answer.

usage: python -m tests.differential [--seed N] [--count N] [--only AREA ...] [--verbose]

Exits with 1 where an answer differs and `intended.py` does not say why.
"""

import argparse
import logging
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.differential.milvus import Milvus
from tests.differential.mistakes import mistakes
from tests.differential.replay import Difference, replay
from tests.differential.requests import System
from tests.differential.walks import WALKS
from tests.server import Server

ALL = {**WALKS, "mistakes": mistakes}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--count", type=int, default=200, help="filters; the rest follows (default 200)")
    parser.add_argument("--only", nargs="*", choices=list(ALL), default=list(ALL), metavar="AREA")
    parser.add_argument("--milvus", default="", help="address of a Milvus 2.3.5 that runs already")
    parser.add_argument("--verbose", action="store_true", help="the intended differences too")
    args = parser.parse_args()
    # pymilvus logs every refusal, and refusals are what half of this asks for.
    logging.disable(logging.CRITICAL)
    say(f"seed {args.seed}")
    found: list[Difference] = []
    asked: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "elanus") as elanus,
        Milvus(Path(folder) / "milvus", args.milvus) as milvus,
    ):
        systems = System("elanus", elanus.uri), System("Milvus 2.3.5", milvus.uri)
        for name in args.only:
            say(name)
            walk = ALL[name](random.Random(f"{args.seed} {name}"), args.count)
            found += replay(walk, *systems, asked)
        for system in systems:
            system.close()
    return report(found, asked, args.verbose)


def report(found: list[Difference], asked: Counter[str], verbose: bool) -> int:
    unmeant = [difference for difference in found if difference.reason is None]
    print(f"\n{'area':<14}{'asked':>8}{'alike':>8}{'intended':>10}{'different':>11}")
    for area, count in asked.items():
        here = [difference for difference in found if difference.area == area]
        different = sum(difference.reason is None for difference in here)
        print(f"{area:<14}{count:>8}{count - len(here):>8}{len(here) - different:>10}{different:>11}")
    if verbose:
        for reason, count in Counter(d.reason for d in found if d.reason is not None).most_common():
            print(f"\nintended, {count} times: {reason}")
            print(next(d.text() for d in found if d.reason == reason))
    for difference in unmeant:
        print(f"\n{difference.text()}")
    print(f"\n{sum(asked.values())} requests, {len(unmeant)} differences that nobody meant", flush=True)
    return 1 if unmeant else 0


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
