"""A whole search: one loop, or the driver that its method names."""

from jdarts.config import Experiment
from jdarts.data import Dataset
from jdarts.data.streaming import StreamedData
from jdarts.devices.placement import Placement
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.methods import build
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import Reporter
from jdarts.search.driver import compile_placed, run_plain
from jdarts.search.drivers import by_name
from jdarts.search.hooks import Watch, unwatched
from jdarts.search.state import SearchState
from jdarts.spaces.space import Space


def run_search(
    config: Experiment,
    space: Space,
    data: Dataset | StreamedData,
    run: RunFolder,
    *,
    placement: Placement | None = None,
    resume: bool = False,
    reporter: Reporter,
    watch: Watch = unwatched,
) -> tuple[Genotype, SearchState | None]:
    """Search as `config.search.method` says, and return the genotype with the final state.

    `placement` says on which devices (`jdarts.devices.placement.place`); None is one device. `watch` gives the
    hooks that look at the search after every epoch (`jdarts.search.hooks`).

    Writes into `run`: `metrics.jsonl` and `genotypes.jsonl` (one record an epoch, the last included), checkpoints; the
    drivers of methods that are more than one loop write the same into subfolders. Raises `UserError` for settings that
    do not fit the data before anything compiles; see `run_loop` for the rest. Random search has no state.
    """
    method = build(config.search.method, config.search.method_options)
    if method.driver is not None:
        if placement is not None and placement.backend != "jit":
            raise UserError(
                f"method {method.name} runs several loops, on one device only, and {placement.data} were asked for; "
                "pass --devices.backend jit --devices.data 1"
            )
        shared = {"method": method, "resume": resume, "reporter": reporter, "watch": watch}
        return by_name(method.driver)(config, space, data, run, **shared)
    search_data = data if isinstance(data, StreamedData) else data.for_search(config.data)
    compiled = None
    if placement is not None and (placement.backend != "jit" or isinstance(data, StreamedData)):
        reporter.message(placement.describe())
        compiled = compile_placed(config, space, search_data, method, placement)
    outcome = run_plain(
        config, space, search_data, run, method, resume=resume, reporter=reporter, watch=watch, compiled=compiled
    )
    return outcome.genotype, outcome.state
