import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.errors import UserError
from jdarts.runs.checkpoint import Checkpoints


class Momentum(NamedTuple):
    trace: dict
    updates: jax.Array


def make_state(seed=0):
    numbers = np.random.default_rng(seed)
    bits = np.array([0x80000000, 0x00000001, 0x7FC12345, 0xFF800000, 0x3F800001], np.uint32)
    return {
        "step": jnp.int32(seed),
        "weights": {"kernel": jnp.asarray(numbers.normal(size=(3, 3, 8, 8)), jnp.float32)},
        "odd": jnp.asarray(bits.view(np.float32)),
        "negative_zeros": -jnp.zeros((4, 4)),
        "half": jnp.asarray([1.5, -0.0, 1e-40], jnp.bfloat16),
        "bytes": jnp.arange(256, dtype=jnp.uint8),
        "mask": jnp.asarray([True, False]),
        "empty": jnp.zeros((0, 3)),
        "wide": numbers.normal(size=7),
        "optimizer": Momentum({"kernel": jnp.ones((2, 2))}, jnp.int32(3)),
        "key": jax.random.key(seed),
        "keys": jax.random.split(jax.random.key(seed, impl="rbg"), 3),
        "none": None,
    }


def bits(tree):
    """Structure and, leaf by leaf, type, shape and bytes."""
    leaves, structure = jax.tree.flatten(tree)

    def describe(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return str(leaf.dtype), leaf.shape, np.asarray(jax.random.key_data(leaf)).tobytes()
        return str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()

    return structure, [describe(leaf) for leaf in leaves]


def save(directory, *steps, keep=3):
    with Checkpoints(directory, keep=keep) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step), {"epoch": step})


def data_file(directory, step):
    """The largest file of a checkpoint: the one that holds the values."""
    files = [path for path in (directory / str(step)).rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def run(code, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "JAX_PLATFORMS": "cpu",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_state_comes_back_bit_for_bit(tmp_path):
    save(tmp_path, 5)
    with Checkpoints(tmp_path) as checkpoints:
        found = checkpoints.restore_latest(like=make_state(0))
    assert found is not None and (found.step, found.meta) == (5, {"epoch": 5})
    assert bits(found.state) == bits(make_state(5))
    assert isinstance(found.state["wide"], np.ndarray)
    assert jax.random.bits(found.state["key"]) == jax.random.bits(jax.random.key(5))
    assert not found.state["weights"]["kernel"].committed


def test_shapes_alone_suffice_as_the_likeness(tmp_path):
    state = {name: leaf for name, leaf in make_state(5).items() if name != "wide"}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        found = checkpoints.restore_latest(like=jax.eval_shape(lambda: state))
    assert found is not None and found.meta == {}
    assert bits(found.state) == bits(state)


def test_float64_survives_under_x64_and_is_refused_without(tmp_path):
    with jax.enable_x64(True):
        state = {"w": jnp.asarray([1 / 3, 5e-324, -0.0], jnp.float64)}
        assert state["w"].dtype == jnp.float64
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(1, state)
            found = checkpoints.restore_latest(like=state)
        assert found is not None and bits(found.state) == bits(state)
        like = jax.eval_shape(lambda: state)
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match="jax_enable_x64"):
        checkpoints.restore_latest(like=like)


def test_nothing_saved_is_none(tmp_path):
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.steps() == []
        assert checkpoints.restore_latest(like=make_state()) is None


def test_only_the_newest_are_kept(tmp_path):
    save(tmp_path, 1, 2, 3, 4, 5, keep=2)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [4, 5]


def test_the_state_may_be_donated_right_after_saving(tmp_path):
    step = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    state = step({f"w{index}": jnp.full(400_000, float(index)) for index in range(4)})
    expected = bits(state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        for _ in range(20):
            state = step(state)
        jax.block_until_ready(state)
        checkpoints.wait()
        found = checkpoints.restore_latest(like=state)
        assert found is not None and bits(found.state) == expected
        step(found.state)  # what was restored may be donated too
        again = checkpoints.restore_latest(like=state)
    assert again is not None and bits(again.state) == expected


def test_saving_a_step_again(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1))
        checkpoints.save(1, make_state(1))
        checkpoints.save(1, make_state(2), {"second": True})
        checkpoints.wait()
        found = checkpoints.restore_latest(like=make_state())
        assert found is not None and found.meta == {"second": True}
        assert bits(found.state) == bits(make_state(2))
        checkpoints.save(3, make_state(3))
        with pytest.raises(ValueError, match="step 3, newer than step 2"):
            checkpoints.save(2, make_state(2))


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink])
def test_a_damaged_checkpoint_falls_back_with_a_warning_and_is_replaced(tmp_path, damage):
    save(tmp_path, 1, 2, 3)
    damage(data_file(tmp_path, 3))
    lines = []
    with Checkpoints(tmp_path, warn=lines.append) as checkpoints:
        found = checkpoints.restore_latest(like=make_state())
        assert found is not None and found.step == 2 and bits(found.state) == bits(make_state(2))
        assert len(lines) == 1 and "step 3: " in lines[0] and "\n" not in lines[0]
        checkpoints.save(3, make_state(3), {"epoch": 3})  # the resumed run reaches step 3 again
        checkpoints.wait()
        assert checkpoints.steps() == [1, 2, 3]
        found = checkpoints.restore_latest(like=make_state())
        assert found is not None and found.step == 3 and bits(found.state) == bits(make_state(3))
    assert len(lines) == 1


LOADER = """
import sys
import jax.numpy as jnp
from jdarts.runs.checkpoint import Checkpoints

for directory in sys.argv[1:]:
    with Checkpoints(directory, warn=print) as checkpoints:
        found = checkpoints.restore_latest(like={"w": jnp.zeros((300, 300)), "u": jnp.zeros(9)})
        print(found.step)
"""


def test_the_warning_is_all_that_is_said_about_damage(tmp_path):
    directories = [tmp_path / name for name in ("short", "flipped", "gone")]
    for directory, damage in zip(directories, (truncate, flip_a_bit, Path.unlink), strict=True):
        with Checkpoints(directory) as checkpoints:
            for step in (1, 2):
                noise = np.random.default_rng(step).normal(size=(300, 300))
                checkpoints.save(step, {"w": jnp.asarray(noise, jnp.float32), "u": jnp.zeros(9)})
        damage(data_file(directory, 2))
    out, err = run(LOADER, *directories).communicate(timeout=60)
    lines = out.splitlines()
    assert err == "" and len(lines) == 6 and lines[1::2] == ["1", "1", "1"]
    assert all("skipping an unreadable checkpoint" in line and "step 2: " in line for line in lines[::2])


def test_without_a_receiver_the_warning_is_a_python_warning(tmp_path):
    save(tmp_path, 1, 2)
    for path in (tmp_path / "2" / "meta").glob("metadata*"):
        truncate(path)
    with Checkpoints(tmp_path) as checkpoints, pytest.warns(UserWarning, match=r"step 2: ") as caught:
        found = checkpoints.restore_latest(like=make_state())
    assert found is not None and found.step == 1
    assert [warning.filename for warning in caught] == [__file__]


def test_damaged_json_data_is_noticed_too(tmp_path):
    save(tmp_path, 1, 2)
    (path,) = (tmp_path / "2" / "meta").glob("metadata*")
    path.write_text(path.read_text().replace('"epoch": 2', '"epoch": 7'))
    with Checkpoints(tmp_path, warn=lambda text: None) as checkpoints:
        found = checkpoints.restore_latest(like=make_state())
    assert found is not None and found.meta == {"epoch": 1}


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, empty, Path.unlink, lambda path: shutil.rmtree(path.parents[2])])
def test_if_none_can_be_read_there_is_a_line_for_each_and_advice(tmp_path, damage):
    save(tmp_path, 1, 2)
    for step in (1, 2):
        if damage in (truncate, empty, Path.unlink):
            damage(data_file(tmp_path, step))
        else:
            for part in (tmp_path / str(step)).iterdir():
                shutil.rmtree(part) if part.is_dir() else part.unlink()
    lines = []
    with (
        Checkpoints(tmp_path, warn=lines.append) as checkpoints,
        pytest.raises(UserError, match=r"none of the checkpoints in .* \(2\) can be read; .*--overwrite"),
    ):
        checkpoints.restore_latest(like=make_state())
    assert [line.partition(": ")[0][-6:] for line in lines] == ["step 2", "step 1"]
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"weights": {"kernel": jnp.zeros((3, 3, 8, 7))}},
            r"weights\.kernel is stored as float32\[3, 3, 8, 8\], wanted float32\[3, 3, 8, 7\]",
        ),
        ({"half": jnp.zeros(3)}, r"half is stored as bfloat16\[3\], wanted float32\[3\]"),
        ({"weights": {}}, r"holds weights\.kernel, which this state does not have"),
        ({"extra": jnp.zeros(3)}, r"lacks extra \(float32\[3\]\)"),
        ({"key": jax.random.key(0, impl="rbg")}, r"key is stored as key<fry>\[\], wanted key<rbg>\[\]"),
    ],
)
def test_another_structure_is_a_users_mistake_and_deletes_nothing(tmp_path, change, expected):
    save(tmp_path, 1)
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(UserError, match=expected):
            checkpoints.restore_latest(like={**make_state(), **change})
        assert checkpoints.restore_latest(like=make_state()) is not None


def test_a_state_holds_arrays_only(tmp_path):
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(TypeError, match=r"leaf a\.b is a float"):
        checkpoints.save(1, {"a": {"b": 0.1}})


def test_a_place_where_nothing_can_be_written_is_a_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot keep checkpoints in"):
        Checkpoints(tmp_path / "file")


SAVER = """
import sys
import jax.numpy as jnp
from jdarts.runs.checkpoint import Checkpoints

with Checkpoints(sys.argv[1]) as checkpoints:
    for step in range(1, 10_000):
        state = {"step": jnp.int32(step), "w": jnp.full(1_000_000, float(step))}
        checkpoints.save(step, state, {"epoch": step})
        print(step, flush=True)
"""


def test_killing_the_process_amid_a_save_loses_no_finished_checkpoint(tmp_path):
    like = {"step": jnp.int32(0), "w": jnp.zeros(1_000_000)}
    saver = run(SAVER, tmp_path)
    assert saver.stdout is not None
    for line in saver.stdout:  # a save waits for the one before, so the last line but one is on disk
        if int(line) == 4:
            break
    until = time.monotonic() + 10
    while not any("tmp" in path.name for path in tmp_path.iterdir()) and time.monotonic() < until:
        pass
    saver.send_signal(signal.SIGKILL)
    saver.communicate()
    with Checkpoints(tmp_path, warn=pytest.fail) as checkpoints:
        found = checkpoints.restore_latest(like=like)
        assert found is not None and found.step >= 3 and found.meta == {"epoch": found.step}
        assert int(found.state["step"]) == found.step
        np.testing.assert_array_equal(found.state["w"], float(found.step))
        until = time.monotonic() + 30  # unfinished saves are removed in the background
        while any("tmp" in path.name for path in tmp_path.iterdir()) and time.monotonic() < until:
            time.sleep(0.01)
    assert not any("tmp" in path.name for path in tmp_path.iterdir())


DEVICES = """
import sys
import jax, jax.numpy as jnp, numpy as np
from absl import logging
from jax.sharding import NamedSharding, PartitionSpec as P
from jdarts.runs.checkpoint import Checkpoints

logging.set_verbosity(logging.INFO)
mesh = jax.make_mesh((4,), ("data",))
place = lambda array, *axes: jax.device_put(array, NamedSharding(mesh, P(*axes)))
state = {
    "split": place(jnp.arange(8.0), "data"), "copied": place(jnp.arange(3.0)), "one": jnp.arange(2.0),
    "keys": place(jax.random.split(jax.random.key(0), 4), "data"),
}
single = jax.tree.map(lambda leaf: jax.device_put(leaf, jax.devices()[0]), state)
other = {**single, "one": place(state["one"]), "split": place(jnp.zeros(8))}
with Checkpoints(sys.argv[1]) as checkpoints:
    for saved, step in ((state, 1), (single, 2)):
        checkpoints.save(step, saved)
        checkpoints.wait()
        for like in (state, single, other, jax.eval_shape(lambda: single)):
            got = checkpoints.restore_latest(like=like).state
            for name in state:
                values = [jax.random.key_data(x) if name == "keys" else x for x in (got[name], state[name])]
                np.testing.assert_array_equal(*map(np.asarray, values))
                if isinstance(like[name], jax.Array):
                    assert got[name].sharding.is_equivalent_to(like[name].sharding, like[name].ndim), name
print("equal")
"""


def test_sharded_leaves_move_between_layouts_and_orbax_keeps_quiet(tmp_path):
    flags = "--xla_force_host_platform_device_count=4"
    out, err = run(DEVICES, tmp_path, XLA_FLAGS=flags).communicate(timeout=60)
    assert (out, err) == ("equal\n", "")
