"""Texts of strangers as one line that a terminal and a log can take; imports nothing, so that every command may use it."""


def escape_unprintable(line: str) -> str:
    """One line, whatever is in it: a stranger's number must not write a line of its own, nor move the cursor of whoever reads it."""
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
