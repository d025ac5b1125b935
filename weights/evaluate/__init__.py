"""What a model card reports: bits per byte of held-out text, and answers to fixed prompts."""
