"""Helpers of several test files: small problems, oracles of derivatives, runs of a report, the figures of the house."""
