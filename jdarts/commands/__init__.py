"""The commands of `jdarts`, one module for each group: each adds its parsers and executes its commands."""
