"""The plan's bytes against the all-reduces of the step compiled for 1, 2, 4 and 8 devices."""

import jax
import pytest
from device_problems import CONFIG, TINY, config_with

from jdarts.config import DevicesConfig
from jdarts.data import load
from jdarts.devices.placement import place
from jdarts.errors import UserError
from jdarts.search import make_search
from jdarts.search.plan import KINDS, all_reduces, compiled_step, estimate, largest_useful, measure, plan

CONFIGURATION = config_with(hypergradient="first_order")
DATA = load(CONFIG.data).for_search(CONFIG.data)


@pytest.fixture(scope="module")
def cost():
    return measure(CONFIGURATION, TINY, DATA, data_axis=8)


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_bytes_of_all_reduces_do_not_depend_on_the_number_of_devices(cost, devices):
    placement = place(DevicesConfig(data=devices), batch_size=CONFIGURATION.search.batch_size)
    found = all_reduces(compiled_step(CONFIGURATION, TINY, DATA, placement).as_text())
    if devices == 1:
        assert (found.count, found.bytes) == (0, 0)
    else:
        assert found.bytes == cost.collectives.bytes
        assert abs(found.count - cost.collectives.count) <= 2, "XLA may merge a few equal ones differently"
        assert abs(found.chain - cost.collectives.chain) <= 2


def test_bytes_are_those_of_gradients_and_statistics(cost):
    """Counted by hand: in first order the gradient of all weights once, of the op weights once, and for each batch
    norm two means forward and two backward in both steps; the rest are four scalars and the new running averages."""
    search = make_search(CONFIGURATION, TINY, DATA)
    state = jax.eval_shape(search.init, jax.random.key(0))
    weights, means = state.weights.size, state.batch_stats.size // 2
    least = 4 * (weights + 2 * means)
    most = 4 * (2 * weights + 2 * 5 * 2 * means + 4 * 14 * 2 * 2 + 64) * 2
    assert least < cost.collectives.bytes < most


def test_the_text_of_a_program_is_read():
    text = """
      %a = f32[10,2]{1,0} all-reduce(f32[10,2]{1,0} %x), channel_id=1
      %b = (bf16[4]{0}, f64[]) all-reduce-start(bf16[4]{0} %y, f64[] %z), channel_id=2
      %c = f64[] all-reduce-done(%b)
    """
    found = all_reduces(text)
    assert (found.count, found.bytes) == (2, 10 * 2 * 4 + 4 * 2 + 8)
    assert found.chain == 1, "none of the two waits for the other"
    after = text + "      ROOT %e = f32[10,2]{1,0} all-reduce(f32[10,2]{1,0} %d), to_apply=%add\n"
    waiting = all_reduces(after.replace("ROOT", "%d = f32[10,2]{1,0} fusion(%a, %c), calls=%f\n      ROOT"))
    assert (waiting.count, waiting.chain) == (3, 2)


def test_more_devices_take_less_compute_and_a_larger_share_of_communication(cost):
    kind = KINDS["tpu-v5e"]
    few = estimate(cost, kind, 2)
    many = estimate(cost, kind, 256)
    assert 0 < few.share < many.share < 1
    assert estimate(cost, kind, 1).communication == 0
    # so small a network never pays off on two devices, so that one is the most
    assert largest_useful(cost, kind, data=8, batch_size=16) in (1, 2, 4, 8, 16)


def test_a_plan_is_text_and_refuses_what_cannot_be():
    text = plan(CONFIGURATION, TINY, DATA, devices=8, kind="h100")
    assert "2 of 16 images a device" in text and "largest useful data axis" in text
    with pytest.raises(UserError, match="unknown kind of device 'tpu-v5'"):
        plan(CONFIGURATION, TINY, DATA, devices=8, kind="tpu-v5")
    with pytest.raises(UserError, match="batch_size is 16, which 256 data replicas cannot share"):
        plan(CONFIGURATION, TINY, DATA, devices=256, kind="tpu-v5e")
