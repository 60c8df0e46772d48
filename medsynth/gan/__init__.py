"""Generative adversarial networks: layers, losses, schedule, steps, loop, sampling."""
