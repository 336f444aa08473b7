"""The action ``checksum``: an index of checksums, and the formats it is read from and written to."""
