"""Models from other systems and for other systems: weights in, models out."""
