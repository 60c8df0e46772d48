"""A reader study: can people tell a GAN's images from real ones?"""
