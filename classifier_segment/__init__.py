"""Segment-informed classification: whole, masked and saliency-guided, after Parola et al. 2024."""
