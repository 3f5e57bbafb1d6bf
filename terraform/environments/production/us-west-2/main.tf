# Production, the pilot light: what takes long to make, or cannot be made while us-east-1 is away
# (Route 53's records are changed there), waits here. Twilio asks it when us-east-1 does not answer:
# its address is the number's fallback URL. scripts/failover.sh makes it take calls.

locals {
  name   = "voice-ai-production"
  region = "us-west-2"
}

provider "aws" {
  region = local.region

  default_tags {
    tags = { Project = local.name }
  }
}

module "region" {
  source             = "../../../modules/region"
  name               = local.name
  availability_zones = ["us-west-2a", "us-west-2b"]
  host_name          = var.host_name
  zone_id            = var.zone_id
  image              = var.image
  settings           = var.settings

  app                = var.app
  worker             = var.worker
  database           = var.database
  cache_class        = var.cache_class
  nat_gateway        = var.nat_gateway
  access_logs_bucket = var.access_logs_bucket

  temporal                  = var.temporal
  temporal_cloud            = var.temporal_cloud
  database_password         = var.database_password
  database_password_version = var.database_password_version
  alarm_emails              = var.alarm_emails

  mode                = var.mode
  database_replica_of = var.database_replica_of

  # us-east-1 makes both here.
  secret_is_copy = true
  cidr           = "10.21.0.0/16"
}
