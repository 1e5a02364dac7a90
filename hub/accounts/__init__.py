"""People who sign in without a card: how they come in (`enter`), set their means (`setup`) and keep them (`own`)."""
