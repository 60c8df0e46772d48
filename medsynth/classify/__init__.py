"""Training and judging image classifiers."""
