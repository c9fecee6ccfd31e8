"""What watches over a worker from outside: ``/livez``, ``/readyz`` and ``/metrics``."""
