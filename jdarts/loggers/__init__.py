"""Loggers of runs: TensorBoard, Weights & Biases, CSV files.

The record in the run folder is the truth, and loggers follow it: after every epoch they write the records that are new.
When a run is resumed they begin again from its first record, so that nothing is missing and nothing is there twice.

* `following`: reads what is new in a run folder. * `reporting`: calls it while a run reports its progress.
* `entries`: the numbers, heat maps and pictures of a record.
* `tensorboard`, `weights_and_biases`, `csv_files`: one logger each.
"""
