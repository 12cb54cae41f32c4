"""One file per array library: what the library adds to the Array API standard.

Each of these files has ``probe()``, which returns ``""`` or one line saying why the library cannot
be used; ``devices()``, the names of the devices; and ``make(device, dtype)``, which returns the
`rnnx.Backend`. `rnnx.get_backend` imports the file only when its library is asked for. `registry`
lists them all.
"""
