"""One file for each step of the schema, in order; a step never changes once it was installed somewhere."""
