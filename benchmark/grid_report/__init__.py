"""What a grid of trained and tested classifiers shows: tables, trends and figures beside the published ones."""
