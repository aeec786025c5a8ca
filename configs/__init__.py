"""What a sweep is, in words a person writes."""
