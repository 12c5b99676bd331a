"""What handlers really touch, seen while they run: held to what they declare, or noted.

Loaded as a whole where it is asked for, since statements are read with sqlglot.
"""
