"""What the run ran on."""

import os
import platform
import subprocess

from benchmarks import ROOT
from benchmarks.results import Machine


def this_machine() -> Machine:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return Machine(cpu(), cores, round(memory, 1), platform.release(), platform.python_version())


def cpu() -> str:
    with open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.processor()


def commit() -> str:
    """Of the checkout, with `+` where the tree differs from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() or "no git checkout"
