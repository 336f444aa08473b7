"""filewatchd: turns what happens to files into finished work."""

__version__ = "0.1.0"
