"""SQL as accesses: from a statement's text to the rows that it touches, and from rows to keys.

Inference asks with expressions over an event in the place of parameters, observation with the values of a run.
"""
