"""What a study found out about the parameters that it searched: tables and pictures."""
