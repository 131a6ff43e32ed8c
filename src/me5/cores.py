"""How many cores there are for this process: those it may run on, and what its container may use of them."""

import math
import os
from contextlib import suppress
from pathlib import Path

# Of a controller that limits processor time: the files of its limit and period in microseconds.
_V2, _V1 = "cpu.max", ("cpu.cfs_quota_us", "cpu.cfs_period_us")


def cores() -> int:
    """The cores that this process may keep busy, at least 1; a share of one counts as a whole."""
    return max(1, math.ceil(min(allowed(), quota())))


def allowed() -> int:
    """The cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def quota(root: Path = Path("/")) -> float:
    """The cores that the control groups of this process may use (`docker run --cpus 1.5`); infinity for no limit.

    `root` is where /proc and /sys are. A group is limited by those above it too.
    """
    least = math.inf
    with suppress(OSError, ValueError):  # no Linux, or a sandbox that hides them
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            mounted = root / "sys/fs/cgroup" / controllers
            if controllers == "" or "cpu" in controllers.split(","):
                group = mounted / path.lstrip("/")
                # A container sees its own group as the root, under the path that it has outside.
                for place in (mounted, *(each for each in (group, *group.parents) if mounted in each.parents)):
                    least = min(least, _limit(place))
    return least


def _limit(group: Path) -> float:
    """The limit of one group, in cores."""
    try:
        if (group / _V2).exists():
            limit, period = (group / _V2).read_text().split()
        else:
            limit, period = ((group / name).read_text().strip() for name in _V1)
        return math.inf if limit in ("max", "-1") else int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
