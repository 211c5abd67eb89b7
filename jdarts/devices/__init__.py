"""Where a search runs: processes, replicas of a batch, placement on devices, memory."""
