"""The emitter's rules, one file an operator family; importing a file registers its rules."""
