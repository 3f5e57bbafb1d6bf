"""What can be checked of terraform/ and deploy/ without an account, and without Terraform."""
