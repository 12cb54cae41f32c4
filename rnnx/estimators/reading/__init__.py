"""Read what users have, as arrays of numbers, or say what is wrong with it."""
