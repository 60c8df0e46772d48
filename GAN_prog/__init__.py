"""Progressively grown conditional GAN (Schuette et al. 2021)."""
