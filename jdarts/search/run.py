"""`run_search`: run a search in one loop, or by the driver that its method names."""

from dataclasses import replace

from jdarts.data.streaming import StreamedData
from jdarts.devices.placement import Placement
from jdarts.errors import UserError, unknown
from jdarts.genotypes import Genotype
from jdarts.methods import Method
from jdarts.search.drivers import DRIVERS, ON_PLACEMENTS
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import run_single_loop
from jdarts.search.state import SearchState


def run_search(run: SearchRun, placement: Placement | None = None) -> tuple[Genotype, SearchState | None]:
    """Search with `run.method`; return the genotype and the final state (None if the method has no state).

    `placement` contains the devices (`jdarts.devices.placement.place`); None is one device.

    Writes into `run.folder`: `metrics.jsonl` and `genotypes.jsonl` (one record per epoch) and checkpoints; drivers
    write the same into subfolders. Raises `UserError` before anything compiles if settings do not fit the data, and the
    errors of `run_loop`.
    """
    driver = run.method.driver
    if driver is None:
        outcome = run_single_loop(replace(run, placement=placement))
        return outcome.genotype, outcome.state
    if driver not in DRIVERS:
        raise unknown("driver", driver, DRIVERS)
    check_driver(run.method, streamed=isinstance(run.data, StreamedData), placement=placement)
    return DRIVERS[driver](replace(run, placement=placement if driver in ON_PLACEMENTS else None))


def check_driver(method: Method, *, streamed: bool, placement: Placement | None = None) -> None:
    """Raise `UserError` if the loops of a method do not run on streamed images, or on the devices of `placement`."""
    if method.driver is None or method.driver in ON_PLACEMENTS:
        return
    if placement is not None and placement.backend != "jit":
        raise UserError(
            f"method {method.name} runs several loops, which needs one device, but {placement.data} were requested; "
            "pass --devices.backend jit --devices.data 1"
        )
    if streamed:
        raise UserError(
            f"method {method.name} runs several loops with the images in memory, which streamed images do not support; "
            f"use a method of one loop, {' or '.join(sorted(ON_PLACEMENTS))}"
        )
