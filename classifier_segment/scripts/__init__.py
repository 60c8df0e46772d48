"""The published scripts: `cd classifier_segment && python -m scripts.check-dataset ...`."""
