"""What one executor process is inside: one slot, or many as threads, coroutines or greenlets.

Each module has one class with ``serve()``, which returns when the executor should end.
"""
