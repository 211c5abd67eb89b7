"""Reports of runs by trials: `jdarts search --strategy` and `jdarts tune`."""
