"""What Python itself does: statements, expressions, calls, attributes, and the libraries that only compute."""
