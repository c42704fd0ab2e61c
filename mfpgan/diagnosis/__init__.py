"""What a trained discriminator has learnt: its answers to errors that were planted in drawn masks."""
