"""Conditional GAN of constant resolution, cpD-GAN (Schuette et al. 2021)."""
