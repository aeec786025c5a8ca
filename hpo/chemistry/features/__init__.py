"""What trainings read: graphs, vectors and labels as arrays that processes share."""
