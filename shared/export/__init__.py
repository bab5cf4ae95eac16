"""A model as a file that runs without this project: graph (what is traced) · compare (is it the same?) · write · the command."""
