"""How good classes, masks and saliency maps are: numpy alone, so that results can be compared without TensorFlow."""
