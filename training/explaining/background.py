"""The rows with which explanations compare: some of training, or none but what is published."""
