"""How fast: a whole step, its parts, its peers, the machine; explorers, notebooks and the start of a program."""
