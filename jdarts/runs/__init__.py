"""What surrounds a run on disk."""
