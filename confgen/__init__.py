"""Database to Asterisk configuration: renders, plans and writes files; never decides a call."""
