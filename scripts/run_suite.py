"""Runs the parts of the suite in order; says what each does, how long it took and how it ended.

usage: python scripts/run_suite.py [PART ...]

Every part runs, also after one has failed; the exit code is 1 if any did. A part that takes longer than its
budget is ended and counts as failed. A lint or type check counts as one test.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
BIN = Path(PYTHON).parent


@dataclass(frozen=True)
class Step:
    """One command. `tests`: the folder or files that pytest runs, "" for another tool."""

    name: str
    command: tuple[str, ...]
    budget_seconds: int
    tests: str = ""


def tool(name: str, *command: str, budget_seconds: int = 300) -> Step:
    return Step(name, (str(BIN / command[0]), *command[1:]), budget_seconds)


def tests(folder: str, budget_seconds: int) -> Step:
    command = (PYTHON, "-m", "pytest", folder, "-q", "--durations=5", "--durations-min=1")
    return Step(folder, command, budget_seconds, folder)


PARTS: dict[str, tuple[Step, ...]] = {
    "check": (
        tool("lint", "ruff", "check", "."),
        tool("format", "ruff", "format", "--check", "."),
        tool("types", "mypy"),
        tool("imports", "lint-imports"),
    ),
    "project": (tests("tests/project", 120),),
    "unit": (tests("tests/unit", 600),),
    "conformance": (tests("tests/conformance", 180),),
    "rules": (tests("tests/rules", 300),),
    "machine": (tests("tests/machine", 480),),
    "crash": (tests("tests/crash", 300),),
    "acceptance": (tests("tests/acceptance", 600),),
}


class Outcome(NamedTuple):
    passed: int
    failed: int
    skipped: int
    seconds: float
    note: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the suite, or some parts of it.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of: {', '.join(PARTS)}")
    wanted = parser.parse_args().parts or list(PARTS)
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")

    outcomes: list[tuple[str, str, Outcome]] = []
    for part in wanted:
        for step in PARTS[part]:
            if step.tests and not any((ROOT / step.tests).rglob("test_*.py")):
                say(f"{part}: {step.name} holds no tests yet")
                continue
            say(f"{part}: {step.name} (at most {step.budget_seconds} s)")
            outcomes.append((part, step.name, run(step)))
    return report(outcomes)


def run(step: Step) -> Outcome:
    """Runs one step with its output passed through, in a process group of its own."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = step.command + ((f"--junitxml={results}",) if step.tests else ())
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        note = ""
        try:
            code = process.wait(step.budget_seconds)
        except subprocess.TimeoutExpired:
            note = f"ended after its budget of {step.budget_seconds} s"
            code = end(process)
        except KeyboardInterrupt:
            end(process)
            raise
        seconds = time.monotonic() - started
        passed, failed, skipped = counts(results) if step.tests else (int(code == 0), int(code != 0), 0)
        if code != 0 and failed == 0:
            # Nothing in the results says why: a crash, a collection error, the budget.
            failed, note = 1, note or f"exit code {code}"
        return Outcome(passed, failed, skipped, seconds, note)


def end(process: subprocess.Popen[bytes]) -> int:
    """Ends a step and the processes it started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        return process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def counts(results: Path) -> tuple[int, int, int]:
    """Passed, failed, skipped of a JUnit file; (0, 0, 0) where pytest did not come to write one."""
    if not results.exists():
        return 0, 0, 0
    total = failed = skipped = 0
    for suite in ElementTree.parse(results).getroot().iter("testsuite"):
        total += int(suite.get("tests", "0"))
        failed += int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
        skipped += int(suite.get("skipped", "0"))
    return max(total - failed - skipped, 0), failed, skipped


def report(outcomes: list[tuple[str, str, Outcome]]) -> int:
    say("summary")
    for part, name, outcome in outcomes:
        verdict = "FAILED" if outcome.failed else "ok"
        figures = f"{outcome.passed} passed, {outcome.failed} failed, {outcome.skipped} skipped"
        line = f"{part:<12} {name:<20} {verdict:<7} {outcome.seconds:7.1f} s   {figures}"
        print(f"{line}   {outcome.note}".rstrip())
    passed = sum(outcome.passed for _, _, outcome in outcomes)
    failed = sum(outcome.failed for _, _, outcome in outcomes)
    skipped = sum(outcome.skipped for _, _, outcome in outcomes)
    print(f"took {sum(outcome.seconds for _, _, outcome in outcomes):.1f} s")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


def say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
