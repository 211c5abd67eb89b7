"""DARTS on CIFAR-10 with the paper's protocol (Liu, Simonyan, Yang 2019, arXiv:1806.09055, and its code).

Search: 50 epochs, batch 64, 16 channels, 8 cells, half of the training images for the weights, half for the alphas.
Retraining: 600 epochs, batch 96, 36 channels, 20 cells, cutout 16, auxiliary head 0.4, drop-path 0.2. All of these are
jdarts' defaults, so the file leaves them out.

Expected, from the paper: test error 2.76 ± 0.09 % with 3.3 M parameters, for the best of four searches (chosen by
validation accuracy after 100 epochs), mean of ten retrainings; 3.00 ± 0.14 % in first order. A single search as here
does not reach 2.76 on average. Cost in the paper: 4 GPU-days for the four second-order searches (1.5 in first order)
on a GTX 1080 Ti. Not run in full by jdarts' developers yet; needs an accelerator. With --search.activations bfloat16 a
first-order step takes 38 ms on one H100, so that the 19,500 steps of a search would take 12.5 min.

    jdarts run configs/darts_cifar10.py --data.path DIR

Other methods with their own published settings on CIFAR-10 (`jdarts methods NAME` shows settings and results):

    jdarts search configs/darts_cifar10.py --data.path DIR --method pc_darts --name pc_darts
    jdarts search configs/darts_cifar10.py --data.path DIR --method fair_darts --name fair_darts
    jdarts search configs/darts_cifar10.py --data.path DIR --method drnas_progressive --name drnas
"""

from jdarts.config import DataConfig, Experiment

config = Experiment(name="darts_cifar10", data=DataConfig(source="cifar10"))
