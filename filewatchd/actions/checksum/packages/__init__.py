"""Package databases: whose a file is, and whether it is as its package shipped it."""
