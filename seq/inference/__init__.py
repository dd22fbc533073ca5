"""A trained model, read back and used."""
