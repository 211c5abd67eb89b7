"""Runs: folders, locks, checkpoints, interruption, and the loop over steps."""
