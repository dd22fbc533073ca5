"""The arithmetic of training and evaluation. It opens no file."""
