"""The commands of the program, a file each; ``hpo/cli.py`` puts them together."""
