"""The demonstration: a seeded shop, run serially and in parallel, and both databases compared row by row.

It claims nothing about speed that it does not measure at that moment, and nothing about order that the two
databases and the checker of recorded runs do not say by themselves."""
