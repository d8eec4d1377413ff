"""Numbered migrations of the schema; never edited once released."""
