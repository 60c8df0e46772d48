"""Causal attribution maps: what the loss gains where a tile is masked."""
