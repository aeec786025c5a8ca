"""The report on a study's ensembles: plain data in, one page and its pictures out."""
