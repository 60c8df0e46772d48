"""How close synthetic images come to real ones: one module per metric, each features -> statistics -> value."""
