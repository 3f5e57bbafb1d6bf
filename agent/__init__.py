"""The domain of a phone call: lifecycle, record, profile and tools. No audio, web or vendor."""
