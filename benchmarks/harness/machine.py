"""The machine as a class: processor, cores and vector units, never a host name or a path."""

import os
import platform
import re
from pathlib import Path

# Flag in /proc/cpuinfo -> how people call it. Only the newest of each row is told.
FEATURES = (
    (
        ("amx_bf16", "AMX-BF16"),
        ("avx512_bf16", "AVX512-BF16"),
        ("avx512f", "AVX512"),
        ("avx2", "AVX2"),
        ("bf16", "BF16"),
    ),
    (("amx_int8", "AMX-INT8"), ("avx512_vnni", "VNNI"), ("avx_vnni", "VNNI"), ("i8mm", "I8MM")),
)


def read(path: str) -> str:
    """A file of /proc, or nothing where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def cpus() -> list[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def features(cpuinfo: str) -> str:
    """Such as "AVX512-BF16 + VNNI"."""
    line = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    flags = set(line.group(1).split()) if line else set()
    found = [next((name for flag, name in row if flag in flags), "") for row in FEATURES]
    return " + ".join(filter(None, found)) or platform.machine()


def describe() -> str:
    """Such as "2 cores, AVX512-BF16 + VNNI (AMD EPYC), 23 GB"."""
    cpuinfo = read("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    name = model.group(1).strip() if model else platform.machine()
    return f"{len(cpus())} cores, {features(cpuinfo)} ({name}), {memory('MemTotal') / 2**30:.0f} GB"


def slug() -> str:
    """The same for a file name, such as "2core-avx512-bf16-vnni"."""
    return f"{len(cpus())}core-" + re.sub(r"[^a-z0-9]+", "-", features(read("/proc/cpuinfo")).lower()).strip("-")


def memory(field: str) -> int:
    """Bytes from /proc/meminfo: MemTotal or MemAvailable. 0 where the system does not tell."""
    line = re.search(rf"^{field}:\s*(\d+) kB", read("/proc/meminfo"), re.MULTILINE)
    return int(line.group(1)) * 1024 if line else 0


def load_average() -> float:
    """Processes that wanted a core over the last minute: near 0 on a quiet machine."""
    return os.getloadavg()[0]
