"""Cells: one file each, the equations of one step and of its backward, side by side.

A cell is a small immutable object of pure functions over arrays of any conforming library:

``step(xp, z, r, state) -> state, saved``
    One step. ``z = x_t W_ihᵀ + b`` is the input's part of the pre-activation and
    ``r = h_{t-1} W_hhᵀ`` the recurrent part, both (B, G·H); `state` is the tuple of (B, H) arrays
    before the step. `saved` is what the backward needs beyond the states themselves.
``linearize(xp, states, saved) -> slopes``
    The elementwise derivatives of every step of a sequence at once, from (T, B, H) arrays. A step's
    backward is linear in the gradient that arrives, and all but that gradient is known before the
    loop over time starts; so these coefficients are computed outside it.
``step_backward(xp, dstate, slopes) -> dz, dr, dstate``
    One step's backward, without the path through `r`: the core adds dh_{t-1} += dr W_hh. An entry
    of the returned `dstate` is None where the step reads the old state only through `r`.

`gates` is G, `state_size` the number of arrays in the state, and `additive` says that the step
reads `z` and `r` only through their sum, so that dz = dr and one bias serves both.
"""
