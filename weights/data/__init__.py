"""From files to batches: readers, own generators, the tokenizer's training, token shards, mixing and packing."""
