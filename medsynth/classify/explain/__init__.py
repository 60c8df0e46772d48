"""Saliency maps by several methods, measured against random maps and random weights."""
