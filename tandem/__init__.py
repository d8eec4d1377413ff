"""Everything of Tandem without a room of its own; never imported for side effects."""
