"""Free memory by the kernel and by control groups of both versions; memory used by a computation."""

import mmap
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import kernels
from jdarts.devices import memory

GB = 2**30


@pytest.fixture
def host(tmp_path):
    """A /proc and a /sys/fs/cgroup to fill in."""
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    cgroup.mkdir()
    (proc / "meminfo").write_text(f"MemTotal: {16 * GB // 1024} kB\nMemAvailable:   {10 * GB // 1024} kB\nX: 1 kB\n")
    return proc, cgroup


def group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_without_groups_the_kernel_decides(host):
    proc, cgroup = host
    assert memory.host_available(proc, cgroup) == 10 * GB
    (proc / "self" / "cgroup").write_text("0::/\n")
    assert memory.host_available(proc, cgroup) == 10 * GB


def test_a_container_of_version_two(host):
    proc, cgroup = host
    (proc / "self" / "cgroup").write_text("0::/box/job\n")
    stat = f"anon 5\ninactive_file {GB}"
    group(cgroup / "box", memory__max=6 * GB, memory__current=4 * GB, memory__stat=stat)
    group(cgroup / "box" / "job", memory__max="max", memory__current=GB)
    assert memory.host_available(proc, cgroup) == 3 * GB, "6 less 4 in use, of which 1 can be reclaimed"
    group(cgroup / "box" / "job", memory__max=2 * GB, memory__current=GB, memory__stat="inactive_file 0")
    assert memory.host_available(proc, cgroup) == GB, "the tightest group above the process counts"
    group(cgroup / "box" / "job", memory__max=2 * GB, memory__current=3 * GB)
    assert memory.host_available(proc, cgroup) == 0


def test_a_container_of_version_one(host):
    proc, cgroup = host
    (proc / "self" / "cgroup").write_text("9:cpu:/box\n4:memory:/box\n0::/\n")
    stat = f"inactive_file 1\ntotal_inactive_file {GB}"
    group(
        cgroup / "memory" / "box",
        memory__limit_in_bytes=5 * GB,
        memory__usage_in_bytes=3 * GB,
        memory__stat=stat,
    )
    group(cgroup / "memory", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=15 * GB)
    assert memory.host_available(proc, cgroup) == 3 * GB


def test_a_container_whose_path_is_not_visible_from_inside(host):
    proc, cgroup = host
    (proc / "self" / "cgroup").write_text("0::/outer/name\n")
    group(cgroup, memory__max=4 * GB, memory__current=3 * GB)
    assert memory.host_available(proc, cgroup) == GB


def test_a_system_that_tells_nothing(tmp_path):
    assert memory.host_available(tmp_path, tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_machine_answers():
    there = memory.available()
    assert there is not None and 2**20 < there.bytes < 2**50
    resident = memory.process_resident()
    assert resident is not None and 2**20 < resident < there.bytes + resident


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_one_piece_of_work_is_seen():
    if not memory.reset_peak():
        pytest.skip("this system does not let a process reset its peak")

    def work() -> str:
        with mmap.mmap(-1, 2**26) as block:  # new pages: those of an array may be left over from another test
            for _ in range(64):
                block.write(bytes(2**20))
        return "done"

    result, growth = memory.host_growth(work)
    assert result == "done" and growth is not None and 0.9 * 2**26 < growth < 4 * 2**26
    _, growth = memory.host_growth(lambda: None)
    assert growth is not None and growth < 0.5 * 2**26, "the peak was reset"


def test_arrays_on_a_device_say_nothing_about_the_host(monkeypatch):
    accelerator = kernels.machine(SimpleNamespace(platform="gpu"))
    monkeypatch.setattr(kernels, "machine", lambda device=None: accelerator)
    assert memory.host_growth(lambda: 3) == (3, None)
    assert memory.available() is None, "the CPU's own statistics, which it does not keep"


def test_bytes_of_a_tree():
    tree = {"a": jnp.zeros((3, 5), jnp.float32), "b": [jax.ShapeDtypeStruct((7,), jnp.bfloat16)], "c": np.int8(1)}
    assert memory.tree_bytes(tree) == 60 + 14 + 1
    key = jax.random.key(0)
    assert memory.tree_bytes(key) == jax.random.key_data(key).nbytes


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (2_500_000, "2.5 MB"), (1.25e9, "1.25 GB"), (4e12, "4,000 GB")]
)
def test_bytes_for_people(count, text):
    assert memory.format_bytes(count) == text
