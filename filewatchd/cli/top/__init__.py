"""`filewatchctl top`: a live view of the daemon, for a terminal."""
