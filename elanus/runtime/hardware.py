"""The machine under the process: what GetMetrics tells operators."""

import os
import resource
import shutil
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from elanus.access.requests import Hardware

_STARTED = time.time()


def hardware(data: Path) -> Hardware:
    """`data`: the data directory, whose disk is meant. "" and 0 for what the system does not tell."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    disk = shutil.disk_usage(data)
    return Hardware(
        ip=_address(),
        cores=os.cpu_count() or 1,
        cpu_percent=round(100 * (used.ru_utime + used.ru_stime) / max(1e-3, time.time() - _STARTED), 2),
        memory=_memory(),
        memory_used=_resident(used.ru_maxrss),
        disk=disk.total,
        disk_used=disk.used,
        started=datetime.fromtimestamp(_STARTED, UTC).isoformat(),
    )


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _resident(peak: int) -> int:
    """Bytes now where /proc tells, else the most there ever were (KiB on Linux, bytes on macOS)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return peak if sys.platform == "darwin" else peak << 10


def _address() -> str:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return ""
