"""What programs import: the app, its tasks, how they are sent and what came of them."""
