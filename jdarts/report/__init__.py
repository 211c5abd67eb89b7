"""What a person looks at: drawings, plots and reports of searches and their results."""
