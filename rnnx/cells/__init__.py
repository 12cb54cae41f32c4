"""Cells: one file each, the equations of one step and of its backward, side by side.

A cell is a small immutable object of pure functions over arrays of any conforming library:

``step(xp, z, q, state) -> state, saved``
    One step. ``z = x_t W_ihᵀ + b_ih`` is the input's part of the pre-activation and
    ``q = h_{t-1} W_hhᵀ + b_hh`` the recurrent part, both (B, G·H); `state` is the tuple of (B, H)
    arrays before the step. `saved` is what the backward needs beyond the states themselves.
``linearize(xp, before, states, saved) -> slopes``
    The elementwise derivatives of every step of a sequence at once, from (T, B, H) arrays: the
    states before and after each step, and what it saved. A step's backward is linear in the
    gradient that arrives, and all but that gradient is known before the loop over time starts; so
    these coefficients are computed outside it.
``step_backward(xp, dstate, slopes) -> da, dq, dstate``
    One step's backward, without the path through `q`: the core adds dh_{t-1} += dq W_hh. An entry
    of the returned `dstate` is None where the step reads the old state only through `q`.
``gradients(xp, da) -> dz, dq``
    The gradients of a whole sequence, (T, B, G·H), from what its steps' backward returned as `da`.

`gates` is G, `state_size` the number of arrays in the state, and `additive` says that the step
reads `z` and `q` only through their sum, so that dz = dq and one bias serves both.
"""
