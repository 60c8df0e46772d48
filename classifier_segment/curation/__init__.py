"""Put COCO files in order: check, simplify, split, count, and make them from masks."""
