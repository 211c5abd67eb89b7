"""Placement of a search: processes, replicas of a batch, devices, memory."""
