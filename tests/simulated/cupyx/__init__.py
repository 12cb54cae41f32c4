"""A simulation of the part of cupyx that rnnx uses."""
