"""A grid of settings, GANs and seeds as a graph of stages that run once and survive kills."""
