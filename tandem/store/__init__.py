"""The only door to SQL; never lets a model or a lazy query out of its thread."""
