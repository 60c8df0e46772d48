"""Nearest training images of synthetic ones, and whether they are too near."""
