"""``filewatchctl index``: what is known of files. What only reads opens the index itself, and needs no daemon."""
