"""Measuring: what a search step costs, on this machine, now.

`jdarts bench CONFIG`, and with `hypergrad`, `seeds` or `input` before CONFIG, print what the modules here return:

    timing      interleaved repetitions, medians with quartiles, paired ratios
    ceilings    what the device can do at most: one large matrix product, one large copy
    steps       weight, first-order and second-order step of a configuration, compiled and measured
    gradients   the alpha gradient of every hypergradient estimator, against one weight step
    seeds       several searches in one program, against as many by themselves
    reading     how fast streamed images are read and decoded, beside the step that needs them
    waiting     the share of a real search loop in which no step is computed
    noise       dropout and drop-path around the modules of any supernet
    accuracy    how far estimators are from a float64 reference on a supernet in training; the finite difference in
                float64 too (`jdarts bench hypergrad CONFIG --noise`)

All numbers are in seconds, bytes, floating-point operations; rates are per second.
"""
