"""Placement of a search: processes, devices, replicas of a batch, memory."""
