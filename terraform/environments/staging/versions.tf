terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.90"
    }
  }

  # The bucket is in this environment's own region: scripts/bootstrap.sh writes backend.hcl.
  backend "s3" {}
}
