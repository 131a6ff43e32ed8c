"""The cores of a process are those of its affinity, and no more than its container may use."""

import math
import os

import pytest

from me5 import cores

V1 = {"cpu.cfs_quota_us": "150000\n", "cpu.cfs_period_us": "100000\n"}


def machine(folder, groups, files):
    """A /proc and a /sys of our own: the groups of this process, and the files of some groups."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups)
    for group, content in files.items():
        place = folder / "sys/fs/cgroup" / group
        place.mkdir(parents=True, exist_ok=True)
        for name, text in content.items():
            (place / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"": {"cpu.max": "150000 100000\n"}}, 1.5),
        ("0::/\n", {"": {"cpu.max": "max 100000\n"}}, math.inf),
        ("0::/user/app\n", {"user/app": {"cpu.max": "max 100000"}, "user": {"cpu.max": "50000 100000"}}, 0.5),
        ("0::/user/app\n", {"user/app": {"cpu.max": "25000 50000"}, "user": {"cpu.max": "200000 100000"}}, 0.5),
        ("4:memory:/\n3:cpu,cpuacct:/docker/123\n", {"cpu,cpuacct": V1}, 1.5),
        ("1:cpu:/jobs/7\n0::/\n", {"cpu/jobs/7": V1}, 1.5),
        ("1:cpu:/\n", {"cpu": V1 | {"cpu.cfs_quota_us": "-1\n"}}, math.inf),
        ("2:cpuset:/\n", {"cpuset": V1}, math.inf),
        ("0::/\n", {"": {"cpu.max": "?"}}, math.inf),
        ("nonsense\n", {}, math.inf),
    ],
)
def test_the_least_limit_of_all_groups_counts(tmp_path, groups, files, expected):
    assert cores.quota(machine(tmp_path, groups, files)) == expected


def test_without_linux_there_is_no_limit(tmp_path):
    assert cores.quota(tmp_path) == math.inf


@pytest.mark.parametrize(("limit", "expected"), [(math.inf, 64), (64.5, 64), (1.5, 2), (1.0, 1), (0.2, 1)])
def test_a_share_of_a_core_counts_as_one(monkeypatch, limit, expected):
    monkeypatch.setattr(cores, "allowed", lambda: 64)
    monkeypatch.setattr(cores, "quota", lambda: limit)
    assert cores.cores() == expected


def test_the_affinity_counts():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
