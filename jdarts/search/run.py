"""`run_search`: run a search in one loop, or by the driver that its method names."""

from jdarts.data.streaming import StreamedData
from jdarts.devices.placement import Placement
from jdarts.errors import UserError, unknown
from jdarts.genotypes import Genotype
from jdarts.search.drivers import DRIVERS
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import compile_placed, run_single_loop
from jdarts.search.state import SearchState


def run_search(run: SearchRun, placement: Placement | None = None) -> tuple[Genotype, SearchState | None]:
    """Search with `run.method`; return the genotype and the final state (None if the method has no state).

    `placement` contains the devices (`jdarts.devices.placement.place`); None is one device.

    Writes into `run.folder`: `metrics.jsonl` and `genotypes.jsonl` (one record per epoch) and checkpoints; drivers
    write the same into subfolders. Raises `UserError` before anything compiles if settings do not fit the data, and the
    errors of `run_loop`.
    """
    if run.method.driver is not None:
        if placement is not None and placement.backend != "jit":
            raise UserError(
                f"method {run.method.name} runs several loops, which needs one device, but {placement.data} were "
                "requested; pass --devices.backend jit --devices.data 1"
            )
        if isinstance(run.data, StreamedData):
            raise UserError(f"method {run.method.name} runs several loops, which streamed images do not support")
        if run.method.driver not in DRIVERS:
            raise unknown("driver", run.method.driver, DRIVERS)
        return DRIVERS[run.method.driver](run)
    compiled = None
    if placement is not None and (placement.backend != "jit" or isinstance(run.data, StreamedData)):
        run.reporter.message(placement.describe())
        compiled = compile_placed(run, placement)
    outcome = run_single_loop(run, compiled=compiled)
    return outcome.genotype, outcome.state
