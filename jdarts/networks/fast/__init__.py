"""Fast forms of the supernets: compiled units, batch norms computed together, variables packed in vectors."""
