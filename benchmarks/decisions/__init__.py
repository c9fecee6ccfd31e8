"""Stand-alone prototypes whose figures the notes in ``docs/design`` are drawn from."""
