"""Remote control: what workers can be asked and told, and how a caller does it."""
