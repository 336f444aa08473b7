"""filewatchd against its peers: one command, one machine, one run."""
