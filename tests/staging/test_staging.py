"""Programs in pieces: their results, number of programs, memory and refusals."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import staging
from jdarts.staging import compiling
from jdarts.staging import program as staging_program
from jdarts.staging.trace import Control, Piece, count_equations, pruned, trace, written_bytes


def layer(x, w):
    return jnp.tanh(x @ w) + x


LAYER = staging.piece(layer)


def network(weights, x, call=LAYER):
    for w in jnp.split(weights, len(weights)):
        x = call(x, w[0])
    return jnp.sum(x * x)


def data(depth=3, n=4, d=5, seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    weights = 0.3 * jax.random.normal(keys[0], (depth, d, d))
    return weights, jax.random.normal(keys[1], (n, d)), 0.1 * jax.random.normal(keys[2], (depth, d, d))


def gradient(weights, x):
    return jax.value_and_grad(network)(weights, x)


def product(weights, x, direction):
    return jax.jvp(lambda w: jax.grad(network)(w, x), (weights,), (direction,))


def check(function, *args, rtol=2e-5, **options):
    """`function` in pieces, and in a few programs of many, against one `jax.jit` of it; returns the first."""
    program, few = staging.compile(function, *args, **options), in_a_few(function, *args)
    expected = jax.jit(function)(*args)
    for run in (program, few):
        got = run(*args)
        assert jax.tree.structure(got) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5)
    return program


def in_a_few(function, *args, most_equations=20):
    """The program of a function that runs often and is too large for one."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("_MOST_EQUATIONS", "_JOINED_EQUATIONS"):
            patch.setattr(staging_program, limit, most_equations)
        return staging.compile(function, *args, unit="cells", calls=10**6)


def test_gradients_and_products_equal_one_program():
    weights, x, direction = data()
    assert check(gradient, weights, x).programs > 3
    check(product, weights, x, direction, rtol=2e-4)


def test_equal_pieces_and_groups_are_compiled_once():
    programs = {depth: staging.compile(gradient, *data(depth)[:2]).programs for depth in (4, 9)}
    assert programs[4] == programs[9]


def test_what_was_compiled_before_in_this_process_is_not_compiled_again(monkeypatch):
    monkeypatch.setattr(compiling, "_recent", compiling.Recent())
    compiled = []
    compile = compiling.Executable.compile
    monkeypatch.setattr(compiling.Executable, "compile", lambda self, *a: compiled.append(self) or compile(self, *a))

    def new(function, *args, **options):
        before = len(compiled)
        program = staging.compile(lambda *args: function(*args), *args, **options)
        return len(compiled) - before, program

    weights, x, _ = data()
    first, program = new(gradient, weights, x)
    again, same = new(gradient, weights, x)
    assert first == program.programs == same.programs > 3 and again == 0
    for a, b in zip(jax.tree.leaves(program(weights, x)), jax.tree.leaves(same(weights, x)), strict=True):
        np.testing.assert_array_equal(a, b)
    other = staging.piece(lambda x, w: jnp.tanh(x @ w) - x)
    assert new(lambda weights, x: jax.grad(network)(weights, x, other), weights, x)[0] > 0, "another piece"
    assert new(gradient, *data(d=6)[:2])[0] == first, "other shapes"
    assert new(gradient, weights, x, only_read=True)[0] == first, "other options"
    with jax.default_matmul_precision("highest"):
        assert new(gradient, weights, x)[0] == first, "another context of JAX"
    monkeypatch.setattr(compiling, "_MOST_PROGRAMS", 0)
    assert new(gradient, weights, x)[0] == first, "the memory was full"
    monkeypatch.setattr(compiling, "_MOST_PROGRAMS", 1000)
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert new(gradient, weights, x)[0] == first, "a measurement compiles everything"
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert new(gradient, weights, x)[0] == 0


def test_results_of_a_piece_that_nothing_reads_are_not_computed():
    """Of the three products of a layer's gradient, that by the weights is left out."""
    weights, x, _ = data(n=64, d=16)
    both = staging.compile(jax.grad(network, argnums=(0, 1)), weights, x)
    one = check(jax.grad(network, argnums=1), weights, x)
    product = 2 * 64 * 16 * 16
    assert both.flops - one.flops == pytest.approx(3 * product, rel=0.1)
    assert one.peak_bytes < both.peak_bytes


def test_what_is_computed_twice_from_the_same_values_can_be_shared():
    """Two gradients by some of the rows: the second computes nothing new, although its first piece differs."""
    weights, x, _ = data(8, n=64)
    rows = list(weights)

    def loss(rows, call):
        y = x
        for w in rows:
            y = call(y, w)
        return jnp.sum(y * y)

    def by_last(rows, count, call=LAYER):
        return jax.grad(lambda last: loss([*rows[:-count], *last], call))(rows[-count:])

    def both(rows):
        return by_last(rows, 6), by_last(rows, 3)

    flops = [check(lambda rows, n=n: by_last(rows, n), rows, shared=True).flops for n in (6, 3)]
    assert flops[0] < check(both, rows, shared=True).flops < flops[0] + 0.3 * flops[1]
    assert check(both, rows).flops == sum(flops)
    # but not what is computed again on purpose
    assert check(lambda rows: by_last(rows, 6, jax.checkpoint(LAYER)), rows, shared=True).flops > 1.2 * flops[0]


def test_what_runs_often_is_one_program_or_a_few():
    weights, x, _ = data(8)
    equations = count_equations(jax.make_jaxpr(gradient)(weights, x).eqns)
    programs = {n: in_a_few(gradient, weights, x, most_equations=equations // n + 1).programs for n in (1, 2, 4)}
    assert programs == {1: 1, 2: 2, 4: 4}
    assert staging.compile(gradient, weights, x).programs > 4


def test_the_same_numbers_every_time():
    weights, x, _ = data()
    one, two = staging.compile(gradient, weights, x), staging.compile(gradient, weights, x)
    for a, b, c in zip(*(jax.tree.leaves(p(weights, x)) for p in (one, one, two)), strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, c)


def test_loops_and_branches_around_pieces():
    weights, x, direction = data()

    def scanned(weights, x):
        def body(x, w):
            x = LAYER(x, w)
            return x, jnp.mean(x)

        end, means = jax.lax.scan(body, x, weights)
        back, sums = jax.lax.scan(lambda y, w: (LAYER(y, w), jnp.sum(y)), x, weights, reverse=True)
        return end, means, back, sums

    def mapped(weights, x, direction):
        return jax.lax.map(lambda u: product(weights, x, u)[1], jnp.stack([direction, 2 * direction, -direction]))

    def until(weights, x):
        def more(carry):
            return (carry[0] < 5) & (jnp.sum(carry[1]) < 1e6)

        return jax.lax.while_loop(more, lambda c: (c[0] + 1, LAYER(c[1], weights[0])), (0, x))

    def either(weights, x):
        return [
            jax.lax.switch(i, [LAYER, lambda x, w: x - 1, LAYER], x, weights[0]) for i in (0, jnp.int32(x.shape[0]))
        ]

    def remembered(weights, x):
        return jax.grad(lambda w: jnp.sum(jax.checkpoint(lambda w: LAYER(LAYER(x, w[0]), w[1]))(w)))(weights)

    check(scanned, weights, x)
    check(lambda w, x: jax.grad(lambda w: scanned(w, x)[1].sum() + scanned(w, x)[2].sum())(w), weights, x)
    check(mapped, weights, x, direction, rtol=1e-3)
    check(until, weights, x)
    check(either, weights, x)
    check(remembered, weights, x)


def test_unread_pieces_are_left_out_also_inside_loops_and_branches():
    def one_of_two(x, w):
        LAYER(x + 1, w)  # never read
        return LAYER(x, w)

    def until(x, w):
        return jax.lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, one_of_two(c[1], w)), (0, x))

    def pieces(graph) -> int:
        inside = sum(pieces(body) for node in graph.nodes if isinstance(node, Control) for body in node.bodies)
        return inside + sum(isinstance(node, Piece) for node in graph.nodes)

    weights, x, _ = data()
    for function in (
        one_of_two,
        until,
        jax.checkpoint(one_of_two),
        lambda x, w: jax.lax.scan(lambda x, _: (one_of_two(x, w), None), x, length=3),
        lambda x, w: jax.lax.cond(x[0, 0] > 0, one_of_two, lambda x, w: x, x, w),
    ):
        assert pieces(trace(pruned(jax.make_jaxpr(function)(x, weights[0])))) == 1


def test_keys_constants_scalars_and_repeated_or_unused_arguments():
    table = np.arange(5, dtype=np.float32)

    def function(key, weights, x, unused):
        noise = jax.random.normal(jax.random.fold_in(key, 3), x.shape)
        y = LAYER(x + noise, weights[0]) + table
        return {"x": x, "y": y, "twice": (y, y), "three": 3.0 * jnp.ones(()), "new": jax.random.split(key)[0]}

    weights, x, _ = data()
    args = (jax.random.key(7), weights, x, jnp.zeros(2))
    program = staging.compile(function, *args)
    got, expected = program(*args), jax.jit(function)(*args)
    assert np.array_equal(jax.random.key_data(got.pop("new")), jax.random.key_data(expected.pop("new")))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, expected)


def test_a_vector_cut_into_many_is_not_copied_by_a_program_of_many_results():
    sizes = [3, 1] * 20

    def function(vector):
        parts = jax.lax.split(vector, sizes)
        return jnp.concatenate([p * i for i, p in enumerate(parts)]), LAYER(
            jnp.ones((2, 3)), jnp.outer(parts[0], parts[2])
        )

    check(
        lambda v: jax.value_and_grad(lambda v: jnp.sum(function(v)[0] ** 2) + jnp.sum(function(v)[1]))(v),
        jnp.arange(80.0),
    )


def test_without_pieces_or_on_request_it_is_one_program():
    weights, x, _ = data()
    assert staging.compile(lambda a: a + 1, x).programs == 1
    whole = staging.compile(gradient, weights, x, unit="whole")
    assert whole.programs == 1 and whole.peak_bytes > 0
    np.testing.assert_allclose(whole(weights, x)[1], jax.jit(gradient)(weights, x)[1], rtol=1e-6)


def test_vmapped_networks_are_one_program_on_a_cpu():
    weights, x, _ = data()
    many = jnp.stack([weights, 2 * weights])
    vmapped = jax.vmap(gradient, in_axes=(0, None))
    assert staging.compile(vmapped, many, x).programs > 1
    program = staging.compile_vmapped(vmapped, many, x, calls=3)
    assert program.programs == 1
    for i, one in enumerate(many):
        np.testing.assert_allclose(program(many, x)[1][i], jax.jit(gradient)(one, x)[1], rtol=1e-4, atol=1e-5)


def test_networks_learn_how_they_are_compiled():
    seen = []

    def function(x):
        seen.append(staging.in_pieces())
        return LAYER(x, jnp.eye(5))

    _, x, _ = data()
    jax.jit(function)(x)
    staging.compile(function, x)
    assert seen == [False, True] and not staging.in_pieces()


def test_what_a_program_calls_often_is_traced_once_for_each_unit():
    seen = []

    def noted(weights, x):
        seen.append(staging.unit())
        return gradient(weights, x)

    once = staging.traced_once(noted)

    def thrice(weights, x, call):
        value, grads = call(weights, x)
        value_2, grads = call(weights - grads, x)
        return value, value_2, call(weights - 2 * grads, x)

    weights, x, _ = data()
    expected = jax.jit(lambda w, x: thrice(w, x, gradient))(weights, x)
    for unit in ("edges", "cells", "edges"):
        program = staging.compile(lambda w, x: thrice(w, x, once), weights, x, unit=unit)
        assert program.programs > 1, "pieces inside are found"
        for a, b in zip(jax.tree.leaves(program(weights, x)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)
    assert seen == ["edges", "cells"]
    once(weights, x)
    once(weights, x)
    assert seen == ["edges", "cells", "whole", "whole"], "elsewhere it is the function itself"
    cached = jax.jit(lambda w, x: noted(w, x))  # not a function that JAX knows already
    seen.clear()
    for unit in ("edges", "whole", "edges"):
        staging.compile(lambda w, x: cached(w, x), weights, x, unit=unit)
    cached(weights, x)
    assert seen == ["edges", "whole"], "the unit is part of the key of JAX's cache"


def test_operations_between_pieces_that_share_nothing_are_programs_of_their_own():
    pair = staging.piece(lambda x, y: jnp.tanh(x - y))

    def function(weights, x):
        a = LAYER(x, weights[0])
        b = LAYER(2 * a + 1, weights[0])
        return pair(2 * b + 1, 2 * LAYER(b, weights[0]) + 1)

    program = check(function, *data()[:2])
    assert program.programs == 4, "the row of weights, two pieces, and 2 x + 1, whether needed once or twice"


def test_memory_counts_what_waits_for_the_backward_pass():
    """A chain of L layers of [n, d] keeps at least one activation a layer until its gradient is taken."""
    n, d = 64, 32
    peaks = {depth: staging.compile(gradient, *data(depth, n, d)[:2]).peak_bytes for depth in (4, 8)}
    activation = 4 * n * d
    assert 4 * activation <= peaks[8] - peaks[4] <= 4 * (4 * activation + 4 * d * d)
    program = staging.compile(gradient, *data(4, n, d)[:2])
    assert program.flops > (4 * 3 - 1) * 2 * n * d * d and program.bytes_accessed > 0


def test_arrays_are_dropped_after_their_last_use():
    weights, x, _ = data(depth=2)
    program = staging.compile(gradient, weights, x)
    results = program(weights, x)
    kept = [weakref.ref(leaf) for leaf in jax.tree.leaves(results)]
    del results
    gc.collect()
    assert all(ref() is None for ref in kept)


def test_other_arguments_are_refused():
    weights, x, _ = data()
    program = staging.compile(gradient, weights, x)
    with pytest.raises(TypeError, match="compiled for arguments"):
        program([weights], x)
    with pytest.raises(TypeError):
        program(weights, x[:2])


def test_pythons_garbage_collector_pauses_while_a_program_is_traced():
    seen = []

    def program(x):
        seen.append(gc.isenabled())
        return LAYER(x, x)

    staging.compile(program, jnp.ones((2, 2)), unit="edges")
    assert seen == [False] and gc.isenabled()
    gc.disable()
    try:
        staging.compile(program, jnp.ones((2, 2)), unit="whole")
        assert not gc.isenabled(), "it stays off if it was off"
    finally:
        gc.enable()


def test_equations_count_as_often_as_they_occur():
    inner = jax.jit(lambda x: jnp.sin(x) * 2)
    once, thrice = (jax.make_jaxpr(lambda x, n=n: [inner(x + i) for i in range(n)])(1.0) for n in (1, 3))
    assert count_equations(once.eqns) == 4  # add, call, sin, mul
    assert count_equations(thrice.eqns) == 12
    assert written_bytes(once.eqns) == 3 * 4 and written_bytes(thrice.eqns) == 9 * 4


def test_a_program_that_runs_a_few_times_is_optimised_less_unless_the_user_says_how_much(monkeypatch):
    level = "xla_backend_optimization_level"
    monkeypatch.setenv("XLA_FLAGS", "")
    short, long = (staging.compiler_options(calls=calls) or {} for calls in (10, 10_000))
    assert short[level] == 1 and level not in long
    assert level not in (staging.compiler_options(calls=10, written=1e12) or {}), "a few calls that take long"
    monkeypatch.setenv("XLA_FLAGS", f"--{level}=0")
    assert level not in (staging.compiler_options(calls=10) or {})


def test_options_that_this_version_of_xla_lacks_are_left_out(monkeypatch):
    """XLA refuses a program with an option that it does not know; versions differ in those that short runs set."""
    monkeypatch.setenv("XLA_FLAGS", "")  # the level of the tests would decide
    level = "xla_backend_optimization_level"
    assert compiling._known({level: 1, "xla_no_such_option": True}) == {level: 1}
    for asked in ({"calls": 1}, {"only_read": True}, {"large": True}, {}):
        options = compiling.compiler_options(**asked)
        assert jax.jit(lambda x: x + 1, compiler_options=options)(1.0) == 2
    assert compiling.compiler_options(calls=1)[level] == 1  # pyright: ignore[reportOptionalSubscript]
