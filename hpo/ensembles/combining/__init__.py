"""What models say of rows they were not trained on, and how they are weighed and judged by it."""
