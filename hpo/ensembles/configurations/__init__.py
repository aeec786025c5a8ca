"""Which trials' configurations an ensemble is made of."""
