"""Segment-informed classification: whole, masked and saliency-guided (Parola et al. 2024, 2025)."""
