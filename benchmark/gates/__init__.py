"""What decides whether synthetic images may stand in for private ones: gates, their thresholds, and the page."""
