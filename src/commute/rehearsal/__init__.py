"""A worker without the world: the real engine over a log in memory, in virtual time, the same for the same seed."""
