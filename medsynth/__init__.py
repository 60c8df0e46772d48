"""What two or more applications of the suite share."""

__version__ = "0.1.0"
