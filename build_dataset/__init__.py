"""From raw images to TFRecords with published splits."""
