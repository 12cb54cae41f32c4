"""One file per array library: what the library adds to the Array API standard.

Each file has ``make(device, dtype)``, which returns the `rnnx.Backend`, and ``devices()``, the
names of the devices. If a library can be imported and still not be used, its file also has
``probe()``, which returns ``""`` or one line saying why not. `registry` lists the files.
"""
