"""Tiny valid folders of each format, written without the package's own writers."""
