"""How good a trained classifier is: metrics, intervals, curves, and the files of a test."""
