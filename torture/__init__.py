"""The torture: workers, stores and networks are broken while tasks flow, and the books are audited.

``python -m torture run`` breaks things by a seeded plan and says what was lost, repeated or stuck;
``python -m torture soak`` looks for memory and disk that grow. README.md tells how to read both.
Linux only: it kills, stops and looks into processes.
"""
