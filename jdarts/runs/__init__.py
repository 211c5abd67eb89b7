"""The lock and the opening of run folders."""
