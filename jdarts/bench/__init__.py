"""Benchmarks: the cost of a search step on this machine, now.

`python -m jdarts.bench.table_searches TABLE` compares search strategies on NAS-Bench-201, and
`python -m jdarts.bench.learning_curves LOGS` judges the extrapolation of learning curves on those of NAS-Bench-NLP.
`jdarts bench CONFIG`, and with `hypergrad`, `seeds` or `input` before CONFIG, print the results of these modules:

    timing      interleaved repetitions, medians with quartiles, ratios within each round
    ceilings    peak rates of the device: one large matrix product, one large copy
    steps       weight, first-order and second-order step of a configuration, compiled and measured
    gradients   the alpha gradient of every hypergradient estimator, against one weight step
    seeds       several searches in one program, against the same number of separate searches
    reading     speed of reading and decoding streamed images, compared with the step that needs them
    waiting     the share of a real search loop in which no step is computed
    noise       dropout and drop-path around the modules of any supernet
    accuracy    errors of estimators against a float64 reference on a supernet in training; the finite difference also
                in float64 (`jdarts bench hypergrad CONFIG --noise`)

All numbers are in seconds, bytes and floating-point operations; rates are per second.
"""
