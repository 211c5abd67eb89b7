"""The commands of `jdarts`, a module a group: each adds its parsers and holds what they execute."""
