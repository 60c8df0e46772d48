"""The DCGAN of lung-ultrasound frames (Szabo 2023)."""
