"""The scheduler: sends what is due. Any number may run; each tick is sent once."""
