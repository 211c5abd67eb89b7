"""Eight searches of first-order DARTS on CIFAR-10 at once, on a TPU pod slice of 32 chips (arXiv:1806.09055).

One compiled program over a mesh of 8 groups of 4 chips: a group runs one seed, and its chips share each batch of 64.
One start gives the mean and the spread over the seeds, and cells for the published protocol, which keeps the best of
several searches. Every 500 steps all copies of the state are compared bit for bit.

Expected, from the paper: test error 3.00 ± 0.14 % after retraining the best cell. Cost in the paper: 1.5 GPU-days for
four searches (GTX 1080 Ti). `jdarts plan` estimates 102 ms a step and 0.6 h for all eight searches on TPU v5e. Tested
with emulated devices and with two processes; not run on a TPU by jdarts' developers.

    jdarts plan configs/pod_seeds_cifar10.py --devices 32 --kind tpu-v5e
    gcloud compute tpus tpu-vm ssh NAME --worker=all --command="cd jdarts && jdarts search \\
      configs/pod_seeds_cifar10.py --seeds 8 --coordinator auto --data.path /mnt/shared/cifar --run-dir /mnt/shared/run"
"""

from jdarts.config import DataConfig, DevicesConfig, Experiment, SearchConfig

config = Experiment(
    name="pod_seeds_cifar10",
    data=DataConfig(source="cifar10"),
    search=SearchConfig(hypergradient="first_order", activations="bfloat16", checkpoint_every=5),
    devices=DevicesConfig(data=4, seed=8, check_replicas_every=500),
)
