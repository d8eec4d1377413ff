"""Pure rules of telephony: takes values, returns values; never does I/O."""
