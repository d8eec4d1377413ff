"""Runs a private Asterisk in namespaces of its own; never touches the host's Asterisk."""
