"""Whether what an app declares is so: events in both orders, together, and against the serial run.

None of it proves independence; each refutes it with a counterexample that can be run again.
"""
