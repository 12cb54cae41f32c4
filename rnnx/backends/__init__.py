"""One file per array library: what the library adds to the Array API standard.

Each of these files has ``make(device, dtype)``, which returns the `rnnx.Backend`, and
``devices()``, the names of the devices. Where a library can be imported and still not be used, its
file also has ``probe()``, which returns ``""`` or one line saying why not. `rnnx.get_backend`
imports the file only when its library is asked for. `registry` lists them all.
"""
