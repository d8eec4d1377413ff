"""The native API, one resource per file, each route declared once; gathered in `table`."""
