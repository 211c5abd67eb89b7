"""Output for people: the console, drawings of cells, and reports of searches and their results."""
