"""For those who test with Umbel, and for its own tests. Umbel itself never imports this."""
