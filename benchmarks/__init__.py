"""What measures the service beside its peers."""
