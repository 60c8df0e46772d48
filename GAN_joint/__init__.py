"""Joint GAN: an ECG image and a row of risk factors from one latent (coronarography.ai 2023)."""
