"""Runs: folders, locks, checkpoints, interruption, and the loop over epochs and steps."""
