"""HTTP: translates requests into use-cases; never holds rules of its own."""
