"""From a study to models that predict: choose, train, combine, calibrate, judge, write."""
