"""How like the real table the synthetic one is."""
