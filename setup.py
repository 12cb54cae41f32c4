"""The compiled core, which is optional: without a C compiler rnnx runs on its portable core."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "rnnx.core._native",
            ["rnnx/core/_native.c"],
            depends=[
                f"rnnx/core/_{name}.h"
                for name in ("dtypes", "kernels", "products", "steps", "update", "vectors")
            ],
            libraries=["m"],
            extra_compile_args=["-O3", "-g0", "-fno-math-errno"],
            extra_link_args=["-pthread"],
            py_limited_api=True,
            optional=True,
        )
    ]
)
