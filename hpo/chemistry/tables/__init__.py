"""Tables of molecules and labels: read, judged, and cut into training, validation and test rows."""
