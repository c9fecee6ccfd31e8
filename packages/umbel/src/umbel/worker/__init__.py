"""The worker: a supervisor that never runs user code, a template that does, and executors."""
