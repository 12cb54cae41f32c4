"""What the cores for CuPy share: kernels in CUDA C, their plans, and the products around them.

`whole` runs a pass around either loop over time: that of `fused`, one launch beside the
product of each step, or that of `persistent`, one launch for all steps. `kernels`
compiles the sources of this folder, `plan` shares a sequence out among multiprocessors, and
`products` calls cuBLAS at a chosen precision. CuPy is imported when a job runs, not before.
"""
