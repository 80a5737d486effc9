"""Small programs that ship, to be run as external programs."""
