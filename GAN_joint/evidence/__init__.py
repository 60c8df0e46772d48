"""Whether synthetic images and rows belong together, and what a predictor makes of them."""
