"""Backbones and feature extractors."""
