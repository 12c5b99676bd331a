"""Footprints out of the code of handlers: an abstract run of what is live, which widens wherever it cannot follow."""
