"""A real Asterisk and SIPp for demo, tests and benchmarks; never part of a running Tandem."""
