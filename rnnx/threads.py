"""How many threads the compiled core uses."""
_count = None
def get_num_threads():
    global _count
    if _count is None:
        import os
        _count = int(os.environ.get("RNNX_THREADS", 0)) or len(os.sched_getaffinity(0))
    return _count
def set_num_threads(n):
    global _count
    _count = n
