"""One file per array library: what it adds to the Array API standard.

Each module has ``probe()``, one line that says why the library cannot be used or ``""``;
``devices()``, the names of its devices; and ``make(device, dtype)``, its `rnnx.Backend`. It is
imported by `rnnx.get_backend` when, and only when, its library is asked for.
"""
