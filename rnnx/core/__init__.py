"""One layer, one direction, one whole dense sequence: forward and backpropagation through time.

`portable` is the loop over time, the definition; `products` are the matrix products outside the
loop; `layer` puts the two together: from the input to the states, and from the states' gradients to
the gradients of the input and of the parameters.
"""
