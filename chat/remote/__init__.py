"""`--server`: conversations with a model that an OpenAI-compatible server runs."""
