"""Comparison of real and synthetic training data with each other and with the published results."""
