"""What a call sounds like: definitions of pipelines and the parts that carry audio."""
