"""What surrounds the service: BentoML, uvicorn, circus, the process."""
