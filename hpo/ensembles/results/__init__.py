"""What ensembles leave behind: predictors, tables and a report."""
